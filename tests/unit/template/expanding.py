"""Expands `template.yaml` as CloudFormation and the SAM translator do, and finds things in what comes out.

Of AWS::LanguageExtensions it knows what the template uses: loops, and Fn::FindInMap with a default. As in AWS, the word
of a loop is filled in where a key of the loop itself, Fn::Sub or Ref has it. Anywhere else it would stay as it is, so
that is refused here.
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-foreach.html
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from samtranslator.translator.transform import transform  # type: ignore[import-untyped]
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

TEMPLATE = Path(__file__).resolve().parents[3] / "template.yaml"
LOOP = "Fn::ForEach::"

Source = dict[str, Any]
Resource = Mapping[str, Any]
Resources = dict[str, Resource]


class _NoManagedPolicies:
    """The template names no managed policy of AWS; one that does would fail here."""

    def load(self) -> dict[str, str]:
        return {}


def read() -> Source:
    """Return the template as it is written, loops and all."""
    template: Source = yaml_parse(TEMPLATE.read_text(encoding="utf-8"))
    return template


def unrolled(template: Source) -> Source:
    """Return a template with its loops unrolled."""
    mappings = template.get("Mappings", {})
    sections = {
        name: _with_found(_unrolled(section), mappings) if name in ("Resources", "Outputs") else section
        for name, section in template.items()
    }
    loose = sorted({identifier for identifier in _identifiers(template) if f"${{{identifier}}}" in str(sections)})
    assert loose == [], "CloudFormation fills in no word there"
    return copy.deepcopy(sections)


def resources_of(source: Source) -> Resources:
    """Return all resources that a template without loops makes, those that SAM adds among them."""
    template = copy.deepcopy(source)
    for resource in template["Resources"].values():
        # `sam deploy` replaces folders by where it uploaded them.
        for name in ("CodeUri", "ContentUri"):
            if name in resource.get("Properties", {}):
                resource["Properties"][name] = "s3://bucket/key"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        expanded: dict[str, Resources] = transform(template, {}, _NoManagedPolicies())
    return expanded["Resources"]


def _identifiers(template: Source) -> Iterator[str]:
    for section in ("Resources", "Outputs"):
        for key, value in template[section].items():
            if key.startswith(LOOP):
                yield value[0]


def _unrolled(section: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in section.items():
        if not key.startswith(LOOP):
            found[key] = value
            continue
        identifier, words, fragment = value
        for word in words:
            for name, body in fragment.items():
                made = name.replace(f"${{{identifier}}}", word)
                assert made != name, f"{name} is the same for every word of {key}"
                assert made not in found, f"{made} is made twice"
                found[made] = _filled(body, identifier, word)
    return found


def _filled(value: Any, identifier: str, word: str) -> Any:
    if isinstance(value, list):
        return [_filled(part, identifier, word) for part in value]
    if not isinstance(value, dict):
        return value
    if value == {"Ref": identifier}:
        return word
    if isinstance(text := value.get("Fn::Sub"), str):
        text = text.replace(f"${{{identifier}}}", word)
        return {"Fn::Sub": text} if "${" in text else text
    return {key: _filled(part, identifier, word) for key, part in value.items()}


def _with_found(value: Any, mappings: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_with_found(part, mappings) for part in value]
    if not isinstance(value, dict):
        return value
    if "Fn::FindInMap" in value:
        mapping, key, attribute, *default = value["Fn::FindInMap"]
        if not isinstance(key, str):
            return value  # A parameter chooses when the stack is deployed.
        row = mappings[mapping].get(key, {})
        return row[attribute] if attribute in row or not default else default[0]["DefaultValue"]
    return {key: _with_found(part, mappings) for key, part in value.items()}


def of(resources: Mapping[str, Resource], kind: str) -> dict[str, dict[str, Any]]:
    """Return the properties of all resources of a type."""
    found = {name: dict(entry["Properties"]) for name, entry in resources.items() if entry["Type"] == kind}
    assert found, f"the template has no {kind}"
    return found


def target(reference: Any) -> str:
    """Return the logical name that a Ref or GetAtt points to."""
    if isinstance(reference, dict):
        if "Ref" in reference:
            return str(reference["Ref"])
        if "Fn::GetAtt" in reference:
            return str(reference["Fn::GetAtt"][0])
    raise AssertionError(f"not a reference to a resource: {reference!r}")


def listed(value: Any) -> list[Any]:
    """Return a value that may stand alone as a list."""
    return value if isinstance(value, list) else [value]


def named(text: Any, prefix: str = "p") -> str:
    """Return a name in a stack of this prefix."""
    return str(text["Fn::Sub"] if isinstance(text, dict) else text).replace("${Prefix}", prefix)


def is_dlq(name: str) -> bool:
    """Return whether a queue is a dead-letter queue, by its logical name."""
    return name.endswith("DLQ")


def statements(resources: Mapping[str, Resource]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield every policy statement, with the resource it stands in and that one's type."""

    def inside(value: Any) -> Iterator[dict[str, Any]]:
        if isinstance(value, dict):
            if "Effect" in value and ("Action" in value or "NotAction" in value):
                yield value
            for part in value.values():
                yield from inside(part)
        elif isinstance(value, list):
            for part in value:
                yield from inside(part)

    for name, entry in resources.items():
        for statement in inside(entry.get("Properties", {})):
            yield name, str(entry["Type"]), statement


def allowed_to(resources: Mapping[str, Resource], role: str) -> Iterator[dict[str, Any]]:
    """Yield the statements that allow a role something: its own, and those of policies that name it."""
    for name, kind, statement in statements(resources):
        roles = map(target, resources[name]["Properties"]["Roles"]) if kind == "AWS::IAM::Policy" else [name]
        if role in roles and statement["Effect"] == "Allow":
            yield statement


def may_send_to(resources: Mapping[str, Resource], role: str) -> set[str]:
    """Return the queues that a role may send to."""
    return {
        target(resource)
        for statement in allowed_to(resources, role)
        if "sqs:SendMessage" in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    }


def refuses_plain_http(document: Mapping[str, Any]) -> bool:
    """Return whether a policy refuses everybody who comes without TLS."""
    return any(
        statement["Effect"] == "Deny"
        and statement["Principal"] == "*"
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        for statement in document["Statement"]
    )
