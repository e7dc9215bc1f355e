"""Segment files: what is new in the bucket comes to the queue, and the function reads there and nowhere else."""

from tests.unit.template.expanding import Resources, allowed_to, listed, of, target


def test_new_objects_below_segments_come_to_the_queue(resources: Resources) -> None:
    (bucket,) = of(resources, "AWS::S3::Bucket").values()
    assert bucket["NotificationConfiguration"] == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}
    ((name, rule),) = of(resources, "AWS::Events::Rule").items()
    assert rule["EventPattern"] == {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": [bucket["BucketName"]]}, "object": {"key": [{"prefix": "segments/"}]}},
    }
    assert [target(one["Arn"]) for one in rule["Targets"]] == ["segmentsQueue"]
    allowed = [
        statement
        for policy in of(resources, "AWS::SQS::QueuePolicy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]
    assert [statement["Principal"] for statement in allowed] == [{"Service": "events.amazonaws.com"}]
    assert target(allowed[0]["Condition"]["ArnEquals"]["aws:SourceArn"]) == name


def test_the_import_reads_files_and_keeps_ids_and_touches_nothing_else_in_the_bucket(resources: Resources) -> None:
    given = {
        (action, resource["Fn::Sub"].partition("${AWS::Region}")[2])
        for statement in allowed_to(resources, "ImportSegmentRole")
        for action in listed(statement["Action"])
        if action.startswith("s3:")
        for resource in listed(statement["Resource"])
    }
    present = {(f"s3:{action}", "/present/*") for action in ("GetObject", "PutObject", "DeleteObject")}
    assert given == {("s3:ListBucket", ""), ("s3:GetObject", "/segments/*"), *present}
