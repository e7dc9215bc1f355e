"""The door for webhooks: bounded where somebody asks for it."""

import json
import re

from relay import problem_details
from tests.unit.template.expanding import Resources, Source, of, target


def test_ingest_has_a_reserved_concurrency_only_when_it_is_asked_for(source: Source, resources: Resources) -> None:
    assert source["Parameters"]["IngestConcurrency"]["Default"] == 0
    reserved = of(resources, "AWS::Lambda::Function")["IngestFunction"]["ReservedConcurrentExecutions"]
    condition, value, otherwise = reserved["Fn::If"]
    assert source["Conditions"][condition] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "IngestConcurrency"}, 0]}]}
    assert (value, otherwise) == ({"Ref": "IngestConcurrency"}, {"Ref": "AWS::NoValue"})


def test_the_stage_throttles_at_the_rate_that_is_asked_for_and_twice_that_in_a_burst(
    source: Source, resources: Resources
) -> None:
    parameter = source["Parameters"]["RequestsPerSecond"]
    (stage,) = of(resources, "AWS::ApiGateway::Stage").values()
    (settings,) = stage["MethodSettings"]
    assert settings["ThrottlingRateLimit"] == {"Ref": "RequestsPerSecond"}
    mapping, key, entry = settings["ThrottlingBurstLimit"]["Fn::FindInMap"]
    assert key == {"Ref": "RequestsPerSecond"}
    bursts = {int(rate): values[entry] for rate, values in source["Mappings"][mapping].items()}
    assert [str(rate) for rate in bursts] == parameter["AllowedValues"]
    # An account has 5,000 unless AWS raises it.
    assert all(burst == min(2 * rate, 5_000) for rate, burst in bursts.items())
    assert (parameter["Default"], bursts[500], max(bursts)) == ("500", 1_000, 10_000)


def test_a_firewall_bounds_requests_by_address_when_it_is_asked_for_and_keeps_no_samples(
    source: Source, resources: Resources
) -> None:
    parameter = source["Parameters"]["RequestsPerAddress"]
    assert parameter["Default"] == "0"
    allowed = {
        number
        for number in ("0", "5", "9", "10", "2000", "-1", "x")
        if re.fullmatch(parameter["AllowedPattern"], number)
    }
    assert allowed == {"0", "10", "2000"}
    ((name, firewall),) = of(resources, "AWS::WAFv2::WebACL").items()
    (association,) = of(resources, "AWS::WAFv2::WebACLAssociation").values()
    assert target(association["WebACLArn"]) == name
    conditions = {entry.get("Condition") for entry in resources.values() if "WAFv2" in entry["Type"]}
    assert conditions == {"HasFirewall"}
    (rule,) = firewall["Rules"]
    assert rule["Statement"]["RateBasedStatement"]["Limit"] == {"Ref": "RequestsPerAddress"}
    # A sample would show a request's headers, its token among them.
    shown = [firewall["VisibilityConfig"], rule["VisibilityConfig"]]
    assert [one["SampledRequestsEnabled"] for one in shown] == [False, False]


def test_whatever_is_asked_reaches_ingest_and_gets_an_answer_of_ours(resources: Resources) -> None:
    """API Gateway's own answer to a method or path that it does not know is no problem details."""
    (api,) = of(resources, "AWS::ApiGateway::RestApi").values()
    methods = {path: set(held) for path, held in api["Body"]["paths"].items()}
    every = {"get", "head", "post", "put", "patch", "delete", "options"}
    assert methods == {"/webhooks/{source}": {"post"}, "/{proxy+}": every}


def test_the_address_without_a_path_is_answered_as_ingest_answers_other_paths(resources: Resources) -> None:
    (api,) = of(resources, "AWS::ApiGateway::RestApi").values()
    answer = api["Body"]["x-amazon-apigateway-gateway-responses"]["MISSING_AUTHENTICATION_TOKEN"]
    ours = problem_details.no_source()
    assert answer["statusCode"] == str(int(ours.status))
    assert json.loads(answer["responseTemplates"]["application/json"]) == ours.body("$context.requestId")
