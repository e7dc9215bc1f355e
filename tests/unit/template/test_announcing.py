"""What happens is announced by the tick alone: events of the relay's own source, records below `runs/`."""

from relay.workers.announcing import SOURCE
from tests.unit.template.expanding import Resources, allowed_to, listed, of


def grants(resources: Resources, action: str) -> dict[str, dict[str, object]]:
    """Return the statements that grant an action, by role."""
    return {
        role: statement
        for role in of(resources, "AWS::IAM::Role")
        for statement in allowed_to(resources, role)
        if action in listed(statement["Action"])
    }


def test_the_tick_alone_sends_events_and_only_as_the_relay(resources: Resources) -> None:
    (role,) = grants(resources, "events:PutEvents")
    statement = grants(resources, "events:PutEvents")[role]
    assert role == "TickRole"
    assert statement["Condition"] == {"StringEquals": {"events:source": SOURCE}}
    assert str(statement["Resource"]).count("event-bus/default") == 1


def test_the_tick_alone_writes_records_and_nothing_else_to_the_bucket(resources: Resources) -> None:
    given = grants(resources, "s3:PutObject")
    assert str(given.pop("ImportSegmentRole")["Resource"]).count("/present/*") == 1
    ((role, statement),) = given.items()
    assert role == "TickRole"
    (bucket,) = of(resources, "AWS::S3::Bucket").values()
    assert statement["Resource"] == {
        "Fn::Sub": f"arn:${{AWS::Partition}}:s3:::{bucket['BucketName']['Fn::Sub']}/runs/*"
    }
    for function in of(resources, "AWS::Lambda::Function").values():
        assert function["Environment"]["Variables"]["RELAY_BUCKET"] == bucket["BucketName"]


def test_segment_files_are_forgotten_sooner_than_records_of_runs(resources: Resources) -> None:
    (bucket,) = of(resources, "AWS::S3::Bucket").values()
    rules = bucket["LifecycleConfiguration"]["Rules"]
    kept = {rule["Prefix"]: rule["ExpirationInDays"] for rule in rules if "ExpirationInDays" in rule}
    assert kept == {"segments/": 30, "present/": 30, "runs/": 731}
