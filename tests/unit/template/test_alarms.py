"""What needs a person raises an alarm."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.template.expanding import Resources, is_dlq, of, refuses_plain_http, target

# Whoever asks them sees their errors in the answer, and a typing mistake is no alarm.
ANSWER_A_PERSON = {"ViewFunction", "AdminFunction", "ForgetFunction"}


def test_every_dlq_has_an_alarm(resources: Resources) -> None:
    alarms = _queue_alarms(resources, "ApproximateNumberOfMessagesVisible")
    assert alarms.keys() == {name for name in of(resources, "AWS::SQS::Queue") if is_dlq(name)}
    assert all(_fires_above(alarm, 0) for alarm in alarms.values())


def test_every_queue_has_an_alarm_on_age(resources: Resources) -> None:
    alarms = _queue_alarms(resources, "ApproximateAgeOfOldestMessage")
    assert alarms.keys() == {name for name in of(resources, "AWS::SQS::Queue") if not is_dlq(name)}
    # A message that is backed off has its age too.
    assert all(_fires_above(alarm, alarm["Threshold"]) and alarm["Threshold"] <= 7200 for alarm in alarms.values())


def test_every_function_has_an_alarm_on_errors(resources: Resources) -> None:
    alarms = [alarm for alarm in of(resources, "AWS::CloudWatch::Alarm").values() if alarm["MetricName"] == "Errors"]
    watched = {target(dimension["Value"]) for alarm in alarms for dimension in alarm["Dimensions"]}
    assert watched == of(resources, "AWS::Lambda::Function").keys() - ANSWER_A_PERSON
    assert all(_fires_above(alarm, 0) for alarm in alarms)


@pytest.mark.parametrize("metric", ["ConnectionStopped", "ExportsUnscheduled", "ProfilesSetAside"])
def test_what_the_clock_counts_raises_an_alarm(resources: Resources, metric: str) -> None:
    functions = of(resources, "AWS::Lambda::Function")
    variables = functions["TickFunction"]["Environment"]["Variables"]
    (alarm,) = (alarm for alarm in of(resources, "AWS::CloudWatch::Alarm").values() if alarm["MetricName"] == metric)
    assert alarm["Namespace"] == variables["POWERTOOLS_METRICS_NAMESPACE"]
    assert alarm["Dimensions"] == [{"Name": "service", "Value": variables["POWERTOOLS_SERVICE_NAME"]}]
    assert _fires_above(alarm, 0)


def test_server_errors_of_the_webhook_api_raise_an_alarm(resources: Resources) -> None:
    alarm = _alarm_on(resources, "5XXError")
    (api,) = of(resources, "AWS::ApiGateway::RestApi").values()
    (stage,) = of(resources, "AWS::ApiGateway::Stage").values()
    assert alarm["Namespace"] == "AWS/ApiGateway"
    assert {one["Name"]: one["Value"] for one in alarm["Dimensions"]} == {
        "ApiName": api["Name"],
        "Stage": stage["StageName"],
    }
    assert _fires_above(alarm, 0)


def test_a_share_of_refused_requests_that_lasts_raises_an_alarm(resources: Resources) -> None:
    """The average of 4XXError is the share of all requests; one refused request among few says nothing.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html
    """
    alarm = _alarm_on(resources, "4XXError")
    assert alarm["Dimensions"] == _alarm_on(resources, "5XXError")["Dimensions"]
    assert (alarm["Statistic"], alarm["ComparisonOperator"]) == ("Average", "GreaterThanThreshold")
    assert 0 < alarm["Threshold"] < 0.5
    assert alarm["Period"] * alarm["EvaluationPeriods"] == 900
    assert alarm["EvaluationPeriods"] >= 3
    assert alarm["TreatMissingData"] == "notBreaching"


def test_a_tick_that_has_not_run_for_five_minutes_raises_an_alarm(resources: Resources) -> None:
    alarm = _alarm_on(resources, "Invocations")
    assert [target(one["Value"]) for one in alarm["Dimensions"]] == ["TickFunction"]
    assert alarm["Period"] * alarm["EvaluationPeriods"] == 300
    assert alarm.get("DatapointsToAlarm", alarm["EvaluationPeriods"]) == alarm["EvaluationPeriods"]
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (1, "LessThanThreshold")
    # A tick that does not run shows nothing.
    assert alarm["TreatMissingData"] == "breaching"


def test_schedules_that_cannot_invoke_their_target_raise_an_alarm(resources: Resources) -> None:
    alarm = _alarm_on(resources, "InvocationDroppedCount")
    assert alarm["Namespace"] == "AWS/Scheduler"
    assert [target(one["Value"]) for one in alarm["Dimensions"]] == ["ScheduleGroup"]
    assert _fires_above(alarm, 0)


def _alarm_on(resources: Resources, metric: str) -> dict[str, Any]:
    alarms = of(resources, "AWS::CloudWatch::Alarm").values()
    (alarm,) = (alarm for alarm in alarms if alarm["MetricName"] == metric)
    assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "AlarmTopic"}]
    return alarm


def _queue_alarms(resources: Resources, metric: str) -> dict[str, dict[str, Any]]:
    """Return the alarms on a queue metric by the queue."""
    alarms = of(resources, "AWS::CloudWatch::Alarm").values()
    return {
        target(dimension["Value"]): alarm
        for alarm in alarms
        if (alarm["Namespace"], alarm["MetricName"]) == ("AWS/SQS", metric)
        for dimension in alarm["Dimensions"]
    }


def _fires_above(alarm: Mapping[str, Any], threshold: int) -> bool:
    given = (alarm["Threshold"], alarm["ComparisonOperator"], alarm["AlarmActions"])
    return given == (threshold, "GreaterThanThreshold", [{"Ref": "AlarmTopic"}])


def test_alarms_may_publish_to_the_topic_that_they_name(resources: Resources) -> None:
    ((topic, _),) = of(resources, "AWS::SNS::Topic").items()
    (policy,) = of(resources, "AWS::SNS::TopicPolicy").values()
    assert [target(one) for one in policy["Topics"]] == [topic]
    assert refuses_plain_http(policy["PolicyDocument"])
    allowed = [one for one in policy["PolicyDocument"]["Statement"] if one["Effect"] == "Allow"]
    assert [one["Principal"] for one in allowed] == [{"Service": "cloudwatch.amazonaws.com"}]
    assert [one["Action"] for one in allowed] == ["sns:Publish"]
    for name, alarm in of(resources, "AWS::CloudWatch::Alarm").items():
        assert [target(one) for one in [*alarm["AlarmActions"], *alarm["OKActions"]]] == [topic, topic], name


def test_an_address_for_alarms_is_asked_to_the_topic(resources: Resources) -> None:
    (subscription,) = of(resources, "AWS::SNS::Subscription").values()
    assert target(subscription["TopicArn"]) in of(resources, "AWS::SNS::Topic")
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", {"Ref": "AlarmEmail"})
