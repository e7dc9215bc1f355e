"""What a destination says of itself: its name, its targets, its settings. None of it shows what it must not."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from relay.destinations import registry
from relay.destinations.calling import CONNECTIONS
from relay.destinations.contract import Finding, Level
from relay.destinations.standard import CALLS_A_PAGE
from relay.domain.problems import Actor, Rejection, SettingsProblem
from tests.contract.conftest import SUBJECTS
from tests.contract.playing import assert_clean, errors_in
from tests.contract.subject import BASE_URL, Subject


def test_every_destination_that_ships_is_held_to_the_contract() -> None:
    assert registry.PACKAGES.keys() <= {kind.name for kind in SUBJECTS}
    for name in registry.PACKAGES:
        assert registry.load(name).name == name
    with pytest.raises(SettingsProblem, match="destination"):
        registry.load("nobody")


def test_what_it_declares_is_of_use(subject: Subject) -> None:
    destination = subject.destination
    assert destination.name == subject.name
    assert destination.shards >= 1
    assert destination.call_size >= 1
    assert 1 <= destination.at_once <= CONNECTIONS
    assert destination.identity in subject.mapping()


def test_what_is_pure_is_pure(subject: Subject) -> None:
    destination, export = subject.destination, copy.deepcopy(subject.export)
    for _ in range(2):
        targets = destination.targets(subject.export)
        assert targets == destination.targets(export)
        assert frozenset[str]().union(*targets.values()) == set(subject.export.segments)
        assert targets.keys() <= destination.owned(subject.export)
        assert destination.tells_leaving(subject.export)
        calls = 1 if destination.at_once == 1 else CALLS_A_PAGE * destination.at_once
        assert destination.page_is_full(subject.export, calls * destination.call_size, 0)
        assert not destination.page_is_full(subject.export, 0, 0)
    assert subject.export == export
    assert subject.wire.requests == []


def test_what_is_no_identity_is_a_rejection(subject: Subject) -> None:
    for code, raw in subject.identity_rejections.items():
        rejection = subject.destination.identity_of(raw, subject.export)
        assert isinstance(rejection, Rejection)
        assert rejection.code == code
        assert subject.destination.reasons[code] == rejection.detail
        assert str(raw) not in rejection.detail


def test_an_identity_is_normalised_once_and_for_all(subject: Subject) -> None:
    for _ in range(2):
        assert subject.destination.identity_of(subject.identity(1), subject.export) == [subject.identity(1)]


def test_an_unknown_field_is_told_not_dropped(subject: Subject) -> None:
    assert dict(subject.destination.mapping_problems(subject.mapping())) == {}
    assert set(dict(subject.destination.mapping_problems({}))) == {subject.destination.identity}
    unknown = {**subject.mapping(), "no such field": "x"}
    assert set(dict(subject.destination.mapping_problems(unknown))) == {"no such field"}


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
    subject.deliver([subject.step(1), subject.step(2), subject.step(2, joins=False, after=1)])
    before = subject.shows([subject.step(1), subject.step(2)])
    findings = subject.destination.check(subject.account(), [subject.export])
    assert findings
    assert all(isinstance(finding, Finding) and finding.level is Level.OK for finding in findings)
    assert subject.shows([subject.step(1), subject.step(2)]) == before
    assert_clean(subject, *(finding.message for finding in findings))


def test_what_an_export_cannot_work_without_is_told_by_a_check_and_by_delivering(subject: Subject) -> None:
    subject.spoil()
    findings = subject.destination.check(subject.account(), [subject.export])
    about = [(error.subject, error.actor) for error in errors_in(findings)]
    assert about == [(subject.export.key, Actor.ADMINISTRATOR)]
    assert errors_in(subject.destination.check(subject.account(), [])) == []
    outcomes = subject.attempt([subject.step(1), subject.step(2)])
    assert {outcome.taken for outcome in outcomes} <= {False, None}
    # Some of it shows by delivering only; then a run must not begin before it is mended.
    before_run = errors_in(subject.destination.check_before_run(subject.account(), subject.export))
    assert [error.subject for error in before_run] == [subject.export.key]


def test_a_value_is_encoded_as_it_is(subject: Subject) -> None:
    for field in subject.values("word"):
        assert subject.destination.encode(field, " word ") == "word"


def test_outside_of_a_sandbox_every_address_is_one_of_the_vendors(subject: Subject) -> None:
    plain = subject.account
    subject.account = lambda: replace(plain(), base_url=None)  # type: ignore[method-assign]
    assert subject.deliver([subject.step(1), subject.step(2)]) == {}
    subject.destination.check(subject.account(), [subject.export])
    addresses = {sent.address for sent in subject.wire.requests}
    assert all(address.startswith("https://") and BASE_URL not in address for address in addresses)
    assert not [secret for secret in subject.secrets for sent in subject.wire.requests if secret in sent.path_url]
