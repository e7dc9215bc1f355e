"""Planted mistakes: whatever is missing from the template, a test of this folder fails.

Each mistake changes the template with its loops unrolled, so that it concerns one destination, function or role alone.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.unit.template import expanding
from tests.unit.template.expanding import Source, target
from tests.unit.template.test_destinations import WORDS
from tests.unit.template.test_rights import Right, used

MODULES = [
    importlib.import_module(f"tests.unit.template.{file.stem}")
    for file in sorted(Path(__file__).parent.glob("test_*.py"))
    if file.name != Path(__file__).name
]
RULES: dict[str, Callable[..., None]] = {
    f"{module.__name__}.{name}": rule
    for module in MODULES
    for name, rule in vars(module).items()
    if name.startswith("test_")
}
SOURCE = expanding.unrolled(expanding.read())

Change = Callable[[Source], object]


@pytest.fixture(scope="module")
def rights() -> dict[str, set[Right]]:
    return used()


def broken(source: Source, rights: dict[str, set[Right]]) -> str | None:
    """Return the first rule that a template breaks; None when it keeps them all."""
    try:
        given = {"source": source, "resources": expanding.resources_of(source), "rights": rights}
    except Exception as error:  # noqa: BLE001 - SAM refuses the template
        return f"SAM: {type(error).__name__}"
    for name, rule in list(RULES.items()):
        asked = {key: value for key, value in given.items() if key in inspect.signature(rule).parameters}
        if not asked:
            continue
        for case in _cases(rule):
            try:
                rule(**asked, **case)
            except (AssertionError, LookupError, TypeError, ValueError):
                # Mistakes of one kind are mostly found by one rule: the next is judged by it first.
                _put_first(name)
                return name
    return None


def _put_first(name: str) -> None:
    others = {key: rule for key, rule in RULES.items() if key != name}
    first = {name: RULES[name]}
    RULES.clear()
    RULES.update(first | others)


def _cases(rule: Callable[..., None]) -> Iterator[dict[str, Any]]:
    """Yield what a rule is played with beside the template."""
    columns = []
    for mark in getattr(rule, "pytestmark", ()):
        names, values = mark.args
        names = [names] if isinstance(names, str) and "," not in names else names
        columns.append([dict(zip(names, one if len(names) > 1 else (one,), strict=True)) for one in values])
    for parts in itertools.product(*columns):
        yield {name: value for part in parts for name, value in part.items()}


def unnoticed(mistakes: Mapping[str, Change], rights: dict[str, set[Right]]) -> list[str]:
    """Return the mistakes after which the template still keeps every rule."""
    found = []
    for name, change in mistakes.items():
        source = copy.deepcopy(SOURCE)
        change(source)
        assert source != SOURCE, name
        if broken(source, rights) is None:
            found.append(name)
    return found


def without(*path: str | int) -> Change:
    """Return what takes away the part of the template at a path."""
    return lambda source: _inside(source, path).pop(path[-1])


def putting(value: object, *path: str | int) -> Change:
    """Return what puts something in the place of the part of the template at a path."""

    def change(source: Source) -> None:
        _inside(source, path)[path[-1]] = value

    return change


def _inside(source: Source, path: Sequence[str | int]) -> Any:
    place: Any = source
    for step in path[:-1]:
        place = place[step]
    return place


def test_the_template_itself_breaks_no_rule(rights: dict[str, set[Right]]) -> None:
    assert len(RULES) > 50
    assert broken(SOURCE, rights) is None


def test_no_resource_can_be_missing(rights: dict[str, set[Right]]) -> None:
    assert unnoticed({name: without("Resources", name) for name in SOURCE["Resources"]}, rights) == []


def test_no_grant_can_be_missing(rights: dict[str, set[Right]]) -> None:
    mistakes: dict[str, Change] = {}
    for name, entry in SOURCE["Resources"].items():
        if entry["Type"] == "AWS::IAM::Role":
            place = ("Properties", "Policies", 0, "PolicyDocument", "Statement")
            granted = entry["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
            mistakes |= {
                f"{name}: {statement['Sid']}": without("Resources", name, *place, number)
                for number, statement in enumerate(granted)
            }
    assert unnoticed(mistakes, rights) == []


def test_no_variable_can_be_missing(rights: dict[str, set[Right]]) -> None:
    place = ("Globals", "Function", "Environment", "Variables")
    variables = SOURCE["Globals"]["Function"]["Environment"]["Variables"]
    assert unnoticed({name: without(*place, name) for name in variables}, rights) == []


def test_no_output_can_be_missing(rights: dict[str, set[Right]]) -> None:
    assert unnoticed({name: without("Outputs", name) for name in SOURCE["Outputs"]}, rights) == []


@pytest.mark.parametrize("word", WORDS)
def test_no_destination_can_be_made_wrong(word: str, rights: dict[str, set[Right]]) -> None:
    other = next(one for one in WORDS if one != word)

    def part(name: str, *path: str | int) -> tuple[str | int, ...]:
        return ("Resources", f"{word}{name}", "Properties", *path)

    variables, looks = part("Function", "Environment", "Variables"), part("Function", "Events", "Looks", "Properties")
    senders = SOURCE["Resources"][f"{word}Senders"]["Properties"]["Roles"]
    secrets = part("Role", "Policies", 0, "PolicyDocument", "Statement", _place_of(word, "ReadConnectionSecrets"))
    mistakes: dict[str, Change] = {
        "its function does not know whose it is": without(*variables, "RELAY_DESTINATION"),
        "its function works for another": putting(other, *variables, "RELAY_DESTINATION"),
        "its function has no name in logs": without(*variables, "POWERTOOLS_SERVICE_NAME"),
        "its function has another's queue": putting({"Fn::GetAtt": [f"{other}Queue", "Arn"]}, *looks, "Queue"),
        "nothing invokes its function": without(*part("Function", "Events")),
        "what failed is not told": without(*looks, "FunctionResponseTypes"),
        "its chains end early": without(*part("Function", "RecursiveLoop")),
        "its log goes elsewhere": without(*part("Function", "LoggingConfig")),
        "its log is kept for ever": without(*part("LogGroup", "RetentionInDays")),
        "its queue keeps no order": without(*part("Queue", "FifoQueue")),
        "its queue swallows looks": putting(True, *part("Queue", "ContentBasedDeduplication")),
        "its queue gives nothing up": without(*part("Queue", "RedrivePolicy")),
        "its messages are shown again too soon": putting(600, *part("Queue", "VisibilityTimeout")),
        "its queue has a name that nobody knows": putting("${Prefix}-x.fifo", *part("Queue", "QueueName", "Fn::Sub")),
        "its dead-letter queue forgets early": putting(345600, *part("DLQ", "MessageRetentionPeriod")),
        "its dead-letter queue takes from any queue": without(*part("DLQ", "RedriveAllowPolicy")),
        "its queue is read in the clear": without(*part("QueuesOnlyByTls", "Queues", 0)),
        "nobody hears of its dead letters": putting([], *part("DLQAlarm", "AlarmActions")),
        "its alarm is on another queue": putting(f"{other}Queue", *part("AgeAlarm", *ALARM_ON, 0)),
        "it reads the secrets of sources": putting(_secrets("${Prefix}/sources/*"), *secrets, "Resource"),
        "it reads the secrets of other stacks": putting(_secrets("*"), *secrets, "Resource"),
        "it writes to secrets": putting("secretsmanager:PutSecretValue", *secrets, "Action"),
        **{
            f"{target(role)} asks it for no looks": without(*part("Senders", "Roles", place))
            for place, role in enumerate(senders)
        },
    }
    assert unnoticed(mistakes, rights) == []


def test_no_word_can_be_missing(rights: dict[str, set[Right]]) -> None:
    assert unnoticed({word: partial(_without_word, word) for word in WORDS}, rights) == []


ALARM_ON = ("Dimensions", 0, "Value", "Fn::GetAtt")


def _place_of(word: str, sid: str) -> int:
    policy = SOURCE["Resources"][f"{word}Role"]["Properties"]["Policies"][0]["PolicyDocument"]
    return [statement["Sid"] for statement in policy["Statement"]].index(sid)


def _secrets(name: str) -> dict[str, str]:
    return {"Fn::Sub": "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:" + name}


def _without_word(word: str, source: Source) -> None:
    for section in ("Resources", "Outputs"):
        source[section] = {name: entry for name, entry in source[section].items() if not name.startswith(word)}
