"""What all functions have: a log, a name, what they find others by."""

import re
from pathlib import Path

from relay import names
from relay.workers.operators.protocol import Level
from tests.unit.template.expanding import Resources, named, of, target
from tests.unit.template.test_queues import EVENTS_DLQ

ROOT = Path(__file__).parents[3]


def test_every_function_logs_to_a_group_of_its_own_with_retention(resources: Resources) -> None:
    groups = of(resources, "AWS::Logs::LogGroup")
    functions = of(resources, "AWS::Lambda::Function")
    used = {name: target(function["LoggingConfig"]["LogGroup"]) for name, function in functions.items()}
    assert sorted(used.values()) == sorted(groups)
    assert {name: groups[group]["LogGroupName"] for name, group in used.items()} == {
        name: {"Fn::Sub": f"/aws/lambda/{function['FunctionName']['Fn::Sub']}"} for name, function in functions.items()
    }
    assert [name for name, group in groups.items() if not group.get("RetentionInDays")] == []


def test_an_event_is_never_repeated_and_what_failed_is_kept(resources: Resources) -> None:
    """A refused event stays refused; the function itself asks again where AWS does not answer."""
    configs = {
        target(config["FunctionName"]): config for config in of(resources, "AWS::Lambda::EventInvokeConfig").values()
    }
    assert configs["ExportFunction"]["MaximumRetryAttempts"] == 0
    assert configs["TickFunction"]["MaximumRetryAttempts"] == 0
    assert target(configs["ExportFunction"]["DestinationConfig"]["OnFailure"]["Destination"]) == EVENTS_DLQ
    default = of(resources, "AWS::Scheduler::Schedule")["DefaultExportSchedule"]
    assert target(default["Target"]["DeadLetterConfig"]["Arn"]) == EVENTS_DLQ


def test_the_functions_find_the_schedules_and_their_target_by_name(resources: Resources) -> None:
    ((group, described),) = of(resources, "AWS::Scheduler::ScheduleGroup").items()
    assert (group, described["Name"]) == ("ScheduleGroup", {"Ref": "Prefix"})
    assert names.schedule_group("p") == "p"
    default = of(resources, "AWS::Scheduler::Schedule")["DefaultExportSchedule"]
    assert named(default["Name"]) == names.default_schedule("p")
    assert "GroupName" not in default
    functions = of(resources, "AWS::Lambda::Function")
    assert named(functions["ExportFunction"]["FunctionName"]) == names.export_function("p")


def test_every_function_is_given_the_variables_that_the_code_reads(resources: Resources) -> None:
    code = [*(ROOT / "layers/relay/relay").rglob("*.py"), *(ROOT / "functions").rglob("*.py")]
    read = {name for file in code for name in re.findall(r"\"(RELAY_[A-Z_]+)\"", file.read_text(encoding="utf-8"))}
    assert len(read) > 4
    for name, function in of(resources, "AWS::Lambda::Function").items():
        given = {variable for variable in function["Environment"]["Variables"] if variable.startswith("RELAY_")}
        # Which destination it is for (tests/unit/template/test_destinations.py), and whose questions it answers.
        assert given | {"RELAY_DESTINATION", "RELAY_ADMIN"} == read, name


def test_every_level_of_questions_has_its_function(resources: Resources) -> None:
    levels = {
        function["Environment"]["Variables"]["RELAY_ADMIN"]: named(function["FunctionName"])
        for function in of(resources, "AWS::Lambda::Function").values()
        if "RELAY_ADMIN" in function["Environment"]["Variables"]
    }
    assert levels == {level.value: f"p-{level.function}" for level in Level}


def test_every_function_sends_to_the_changes_queue_of_this_stack(resources: Resources) -> None:
    queues = of(resources, "AWS::SQS::Queue")
    assert named(queues["changesQueue"]["QueueName"]) == "p-changes"
    assert named(queues["checksQueue"]["QueueName"]) == names.checks_queue("p")
    for name, function in of(resources, "AWS::Lambda::Function").items():
        assert target(function["Environment"]["Variables"]["RELAY_CHANGES_QUEUE"]) == "changesQueue", name


def test_runtime_and_architecture_come_from_the_parameters(resources: Resources) -> None:
    for name, function in of(resources, "AWS::Lambda::Function").items():
        assert function["Runtime"] == {"Ref": "Runtime"}, name
        assert function["Architectures"] == [{"Ref": "Architecture"}], name


def test_every_function_names_itself_in_logs_and_metrics(resources: Resources) -> None:
    for name, function in of(resources, "AWS::Lambda::Function").items():
        service = function["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]
        assert function["FunctionName"] == {"Fn::Sub": f"${{Prefix}}-{service}"}, name


def test_every_function_has_the_library_and_the_import_of_files_what_reads_parquet(resources: Resources) -> None:
    layers = {one["LayerName"]["Fn::Sub"]: name for name, one in of(resources, "AWS::Lambda::LayerVersion").items()}
    relay, parquet = layers["audience-relay-relay"], layers["audience-relay-parquet"]
    for name, function in of(resources, "AWS::Lambda::Function").items():
        wanted = [relay, parquet] if name == "ImportSegmentFunction" else [relay]
        assert [target(one) for one in function["Layers"]] == wanted, name


def test_the_tick_comes_every_minute(resources: Resources) -> None:
    schedule = of(resources, "AWS::Scheduler::Schedule")["TickSchedule"]
    assert schedule["ScheduleExpression"] == "rate(1 minute)"
    assert target(schedule["Target"]["Arn"]) == "TickFunction"
    assert target(schedule["Target"]["RoleArn"]) == "SchedulerRole"
