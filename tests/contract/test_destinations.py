"""What every destination promises the engine; `docs/adding-a-destination.md` tells how one joins."""

from __future__ import annotations

import copy
import json
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.destinations import registry
from relay.destinations.calling import READ_SECONDS
from relay.destinations.contract import Finding, Level
from relay.domain.problems import ConnectionProblem, ExportProblem, Problem, Rejection, SettingsProblem, Transient
from tests.contract.conftest import COME_BACK, LEAVE_OUT, SUBJECTS, name_of
from tests.contract.subject import Subject

ALWAYS: int | None = None


def people(subject: Subject, *numbers: int) -> set[str]:
    return {subject.identity(number) for number in numbers}


# Membership.


def test_who_joins_is_in_with_their_values(subject: Subject) -> None:
    assert subject.deliver([subject.step(1), subject.step(2)]) == {}
    assert subject.members() == people(subject, 1, 2)
    assert subject.held_values(subject.identity(1)) == subject.values("word")


def test_values_are_updated(subject: Subject) -> None:
    subject.deliver([subject.step(1, word="old")])
    assert subject.deliver([subject.step(1, word="new", after=1)]) == {}
    assert subject.held_values(subject.identity(1)) == subject.values("new")


def test_a_missing_value_leaves_what_is_held(subject: Subject) -> None:
    subject.deliver([subject.step(1)])
    assert subject.deliver([subject.step(1, word=None, after=1)]) == {}
    assert subject.held_values(subject.identity(1)) == subject.values("word")


def test_who_leaves_is_out_and_the_others_stay(subject: Subject) -> None:
    assert subject.destination.says_goodbye(subject.export)
    subject.deliver([subject.step(1), subject.step(2)])
    assert subject.deliver([subject.step(1, joins=False, after=1)]) == {}
    assert subject.members() == people(subject, 2)


def test_leaving_without_having_been_in_does_no_harm(subject: Subject) -> None:
    assert subject.deliver([subject.step(1, joins=False)]) == {}
    assert subject.members() == set()


@pytest.mark.parametrize("subject_type", COME_BACK, ids=name_of)
def test_who_left_comes_back(subject: Subject) -> None:
    for after in range(3):
        assert subject.deliver([subject.step(1, joins=after != 1, after=after)]) == {}
    assert subject.members() == people(subject, 1)


def test_the_same_again_does_no_harm(subject: Subject) -> None:
    steps = [subject.step(1), subject.step(2), subject.step(3, joins=False)]
    held = []
    for _ in range(2):
        assert subject.deliver(steps) == {}
        held.append((subject.members(), subject.held_values(subject.identity(1))))
    assert held[0] == held[1]


def test_joining_and_leaving_in_one_delivery_ends_with_the_later_step(subject: Subject) -> None:
    steps = [subject.step(1), subject.step(2), subject.step(1, joins=False, after=1)]
    assert subject.deliver(steps) == {}
    assert subject.members() == people(subject, 2)


# What is sent.


def test_mistake_4_nothing_empty_is_ever_sent(subject: Subject) -> None:
    empty: list[Any] = [None, "", " ", [], ["", None]]
    encoded = [subject.destination.encode(target, value) for target in subject.mapping() for value in empty]
    assert set(encoded) == {None}
    subject.deliver([subject.step(1), subject.step(2, word=None), subject.step(3, joins=False)])
    for body in subject.adapter.json_bodies():
        assert not {None, "", "null", "None", "undefined"} & set(_scalars(body)), body


def test_every_attempt_is_paced_and_logged_once(subject: Subject) -> None:
    subject.deliver([subject.step(1), subject.step(2)])
    assert len(subject.paced) == len(subject.lines) == len(subject.adapter.requests) > 0
    assert [line["operation"] for line in subject.lines] == [quota.name for quota in subject.paced]


def test_the_documented_limits_are_kept_by_pacing_alone(subject: Subject) -> None:
    for round_ in range(8):
        subject.deliver([subject.step(number, after=round_) for number in range(3)])
    assert subject.counters()["limit_violations"] == 0


def test_mistake_5_quotes_and_brackets_arrive_as_they_are(subject: Subject) -> None:
    nasty = 'He said "}],[{\\" & left\u2028'
    subject.deliver([subject.step(1, word=nasty)])
    assert subject.held_values(subject.identity(1)) == subject.values(nasty)


# Cutting into calls.


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.parametrize("kind", SUBJECTS, ids=lambda kind: kind.__name__)
def test_calls_cover_every_step_once_within_the_limits(kind: type[Subject], data: st.DataObject) -> None:
    subject = kind()
    blocks = data.draw(st.lists(st.tuples(st.integers(0, 700), st.integers(0, 3_000), st.booleans()), max_size=4))
    steps = [
        subject.step(number, joins=joins, word="é" * length)
        for count, length, joins in blocks
        for number in range(min(count, 3_000_000 // (length + 1)))
    ]
    calls = subject.destination.calls(subject.account(), subject.export, steps)
    assert sorted(index for call in calls for index in call) == list(range(len(steps)))
    assert all(calls)
    for call in calls:
        places = [(steps[index].target, steps[index].identity) for index in call]
        assert len(places) == len(set(places)) <= subject.destination.call_size
    if calls:
        # The sandbox refuses what is above the documented limits, and then the call would be taken apart.
        largest = max(calls, key=lambda call: sum(len(str(steps[index].values)) for index in call))
        answer = subject.destination.send(subject.account(), subject.export, [steps[index] for index in largest])
        assert answer.refused == {}
        assert [line["status"] for line in subject.lines if line["status"] >= 400] == []


def test_a_full_call_and_more_goes_through(subject: Subject) -> None:
    count = subject.destination.call_size + 3
    assert subject.deliver([subject.step(number) for number in range(count)]) == {}
    assert len(subject.members()) == count


# What is refused.


def test_a_bad_row_is_isolated(subject: Subject) -> None:
    steps = [subject.step(number) for number in range(20, 40)]
    # Its encoded form, as the faults look at the bytes of a body.
    marker = json.dumps(steps[13].identity, ensure_ascii=False)
    subject.fault({"status": 400, "body": {}}, path=subject.delivery_path, contains=marker, times=ALWAYS)
    refused = subject.deliver(steps)
    assert list(refused) == [13]
    assert subject.members() == {step.identity for step in steps} - {steps[13].identity}
    assert_clean(subject, refused[13].detail)


def test_when_everything_is_refused_the_export_stops_and_nobody_is_blamed(subject: Subject) -> None:
    subject.fault({"status": 400, "body": {}}, path=subject.delivery_path, times=ALWAYS)
    with pytest.raises(ExportProblem):
        subject.deliver([subject.step(number) for number in range(100)])


def test_what_is_no_identity_is_a_rejection(subject: Subject) -> None:
    for code, raw in subject.identity_rejections.items():
        rejection = subject.destination.identity_of(raw, subject.export)
        assert isinstance(rejection, Rejection)
        assert rejection.code == code
        assert str(raw) not in rejection.detail


def test_an_identity_is_normalised_once_and_for_all(subject: Subject) -> None:
    (identity,) = _identities(subject, subject.identity(1))
    assert identity == subject.identity(1)
    assert _identities(subject, identity) == [identity]


def test_mistake_7_an_unknown_target_is_told_not_dropped(subject: Subject) -> None:
    assert dict(subject.destination.mapping_problems(subject.mapping())) == {}
    assert set(dict(subject.destination.mapping_problems({}))) == {subject.destination.identity}
    unknown = {**subject.mapping(), "no such target": "x"}
    assert set(dict(subject.destination.mapping_problems(unknown))) == {"no such target"}


# Trouble.

NO_ANSWER = {"delay": READ_SECONDS + 1}

TROUBLE: Mapping[str, tuple[Mapping[str, Any], type[Problem], bool | None]] = {
    "401": ({"status": 401}, ConnectionProblem, None),
    "402": ({"status": 402}, ConnectionProblem, None),
    "403": ({"status": 403}, ConnectionProblem, None),
    "404": ({"status": 404}, ConnectionProblem, None),
    "redirect": ({"status": 302, "headers": {"Location": "https://elsewhere.invalid/"}}, ConnectionProblem, None),
    "an undocumented status": ({"status": 418}, ConnectionProblem, None),
    "a page with 200": ({"html": True}, ConnectionProblem, None),
    "429": ({"status": 429, "headers": {"Retry-After": "17"}}, Transient, False),
    "500": ({"status": 500}, Transient, None),
    "503 with a page": ({"status": 503, "body": "<html>Unavailable</html>"}, Transient, None),
    "408": ({"status": 408}, Transient, None),
    "no answer in time": (NO_ANSWER, Transient, None),
    "dropped before processing": ({"drop": "before"}, Transient, None),
    "dropped after processing": ({"drop": "after"}, Transient, None),
}


@pytest.mark.parametrize("kind", TROUBLE)
def test_each_error_is_what_it_is(subject: Subject, kind: str) -> None:
    fault, expected, taken = TROUBLE[kind]
    echoed = {"message": f"no such user {subject.identity(1)} with key {subject.secrets[0]}"}
    do = {"body": echoed, **fault} if "status" in fault else fault
    subject.fault(do, path=subject.delivery_path, times=ALWAYS)
    with pytest.raises(expected) as caught:
        subject.deliver([subject.step(1), subject.step(2)])
    if isinstance(caught.value, Transient):
        assert caught.value.taken is taken
        assert caught.value.retry_after == (timedelta(seconds=17) if kind == "429" else None)
    assert_clean(subject, "".join(traceback.format_exception(caught.value)))


@pytest.mark.parametrize("kind", TROUBLE)
def test_trouble_is_over_when_it_is_over(subject: Subject, kind: str) -> None:
    fault, expected, _ = TROUBLE[kind]
    times = 2 if kind == "401" else 1  # one renewed token is no reason to stop
    subject.fault(fault, path=subject.delivery_path, times=times)
    steps = [subject.step(1), subject.step(2)]
    try:
        subject.deliver(steps)
    except expected:
        subject.sandbox.delete("/_sandbox/faults")
        assert subject.deliver(steps) == {}
    assert subject.members() == people(subject, 1, 2)


def test_a_refused_connection_took_nothing(subject: Subject) -> None:
    subject.adapter.refuses_connections = True
    with pytest.raises(Transient) as caught:
        subject.deliver([subject.step(1)])
    assert caught.value.taken is False


@pytest.mark.parametrize(
    "work",
    [
        lambda subject: subject.deliver([subject.step(1), subject.step(2)]),
        lambda subject: subject.destination.check(subject.account(), [subject.export]),
    ],
    ids=["delivery", "check"],
)
@pytest.mark.parametrize("path", ["", "^/(?!oauth)"], ids=["every call", "every call but the log-in"])
@pytest.mark.parametrize("do", [{"html": True}, {"status": 401}, {"status": 500}, {"drop": "before"}, NO_ANSWER])
def test_trouble_with_any_call_is_one_of_the_closed_set(
    subject: Subject, work: Callable[[Subject], object], path: str, do: Mapping[str, Any]
) -> None:
    subject.fault(do, path=path, times=ALWAYS)
    with pytest.raises(Problem) as caught:
        work(subject)
    assert_clean(subject, "".join(traceback.format_exception(caught.value)))


def test_nothing_personal_and_no_secret_is_logged_in_good_times(subject: Subject) -> None:
    subject.deliver([subject.step(number) for number in range(3)])
    subject.deliver([subject.step(1, joins=False, after=1)])
    for finding in subject.destination.check(subject.account(), [subject.export]):
        assert_clean(subject, finding.message)


# Imports.


def test_what_was_queued_is_verified_not_assumed(subject: Subject) -> None:
    answer = subject.destination.send(subject.account(), subject.export, [subject.step(1), subject.step(2)])
    if answer.import_id is None:
        assert subject.members() == people(subject, 1, 2)
        return
    assert subject.members() == set()
    steps = [subject.step(1), subject.step(2)]
    report = subject.destination.import_report(
        subject.account(), subject.export, subject.open_import(answer.import_id, answer.queued), steps
    )
    assert not report.finished
    assert report.refused == {}


def test_what_is_said_to_be_over_lies_back_and_is_only_asked_for(subject: Subject) -> None:
    subject.deliver([subject.step(number) for number in range(12)])
    writes, said = subject.counters()["write_calls"], []
    for _ in range(12):
        asked_at = datetime.fromtimestamp(subject.time(), UTC)
        cleared = subject.destination.cleared_before(subject.account(), asked_at)
        if cleared is not None:
            assert cleared < asked_at
            said.append(cleared)
        subject.time.pass_(600)
    assert said == sorted(said)
    assert subject.counters()["write_calls"] == writes


@pytest.mark.parametrize("subject_type", LEAVE_OUT, ids=name_of)
def test_whom_the_destination_quietly_leaves_out_is_reported(subject: Subject) -> None:
    steps = [subject.step(1), subject.step(2), subject.step(3)]
    subject.leave_out(steps[1].identity)
    refused = subject.deliver(steps)
    assert list(refused) == [1]
    assert subject.members() == people(subject, 1, 3)
    assert_clean(subject, refused[1].detail)


# Declarations.


def test_the_registry_knows_it_under_its_name(subject: Subject) -> None:
    destination = registry.load(subject.name)
    assert destination.name == subject.name
    assert destination.shards >= 1
    assert destination.call_size >= 1
    assert destination.identity in subject.mapping()


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(SettingsProblem, match="destination"):
        registry.load("nobody")


def test_targets_and_goodbye_are_pure(subject: Subject) -> None:
    before = copy.deepcopy(subject.export)
    targets = subject.destination.targets(subject.export)
    assert targets == subject.destination.targets(subject.export)
    assert subject.destination.says_goodbye(subject.export) == subject.destination.says_goodbye(subject.export)
    assert subject.export == before
    assert frozenset[str]().union(*targets.values()) == set(subject.export.segments)
    assert subject.adapter.requests == []


def test_unknown_fields_and_options_are_told_without_their_values(subject: Subject) -> None:
    for model, fields in (
        (subject.destination.connection_model, subject.connection_fields()),
        (subject.destination.options_model, subject.options()),
    ):
        with pytest.raises(ValueError, match="no_such_setting") as caught:
            model.model_validate({**fields, "no_such_setting": "s3cret-of-mine"})
        assert "s3cret-of-mine" not in str(caught.value)


def test_settings_do_not_show_their_secrets(subject: Subject) -> None:
    shown = repr(subject.connection) + str(subject.connection.settings)
    assert not [secret for secret in subject.secrets if secret in shown and "@" not in secret]


def test_a_check_of_a_good_account_changes_nothing_and_finds_nothing(subject: Subject) -> None:
    findings = subject.destination.check(subject.account(), [subject.export])
    assert findings
    assert all(isinstance(finding, Finding) and finding.level is Level.OK for finding in findings)
    assert subject.members() == set()


def assert_clean(subject: Subject, text: str) -> None:
    """Make sure that neither a text nor any log line so far holds anything personal or secret."""
    seen = text + json.dumps(subject.lines, ensure_ascii=False)
    planted = [subject.identity(number) for number in range(40)]
    words = list(subject.values("word").values())
    for forbidden in (*planted, *subject.secrets, *words):
        assert forbidden not in seen


def _identities(subject: Subject, raw: object) -> list[str]:
    found = subject.destination.identity_of(raw, subject.export)
    assert not isinstance(found, Rejection)
    return found


def _scalars(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [scalar for inner in value.values() for scalar in _scalars(inner)]
    if isinstance(value, list):
        return [scalar for inner in value for scalar in _scalars(inner)]
    return [value]
