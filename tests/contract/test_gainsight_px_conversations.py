"""What only Gainsight PX does: its log-in, its segments and their texts, its users, and each of its documented answers.

https://px-apidocs.gainsight.com. Where that documents nothing, the sandbox can be set to each thinkable answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from relay.destinations.contract import Level, Step
from relay.destinations.gainsight_px import GainsightPx
from relay.destinations.gainsight_px.stops import MOST_PROBES
from relay.destinations.gainsight_px.token import Tokens
from relay.domain.problems import Busy, ConnectionProblem, ExportProblem, Problem, Transient
from tests.contract.gainsight_px_looks import (
    ALWAYS,
    MEMBERSHIP,
    METADATA,
    change,
    codes,
    levels,
    operations,
    told_of,
)
from tests.contract.gainsight_px_subject import GainsightPxAttributesSubject, GainsightPxSubject


@pytest.fixture
def subject() -> GainsightPxSubject:
    return GainsightPxSubject()


@pytest.fixture
def users() -> GainsightPxAttributesSubject:
    return GainsightPxAttributesSubject()


# The log-in.


def test_one_token_does_for_many_calls(subject: GainsightPxSubject) -> None:
    for after in range(5):
        subject.deliver([subject.step(1, after=after)])
    assert subject.counters()["token_fetches"] == 1


def test_a_new_one_is_fetched_before_the_old_one_ends(subject: GainsightPxSubject) -> None:
    change(subject, token_lifetime=600)
    subject.destination = GainsightPx(Tokens(subject.time))
    subject.deliver([subject.step(1)])
    subject.time.pass_(560)
    subject.deliver([subject.step(2)])
    assert subject.counters()["token_fetches"] == 2
    assert [line["status"] for line in subject.lines if line["status"] != 200] == []


def test_a_token_taken_back_early_is_renewed_once_and_the_call_repeated(subject: GainsightPxSubject) -> None:
    subject.deliver([subject.step(1)])
    subject.sandbox.delete("/_sandbox/tokens")
    assert subject.deliver([subject.step(2)]) == {}
    assert [line["status"] for line in subject.lines[-3:]] == [401, 200, 200]
    assert subject.inside() == {subject.identity(1), subject.identity(2)}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"password": "another"}, ("invalid_grant", "password", "Saml Only")),
        ({"username": "else@example.com"}, ("invalid_grant",)),
        ({"client_secret": "another"}, ("invalid_client", "OAuth secret")),
        ({"client_id": "sub-2"}, ("invalid_client", "subscription ID")),
    ],
)
def test_a_refused_log_in_names_the_likely_causes(
    subject: GainsightPxSubject, changed: dict[str, str], words: tuple[str, ...]
) -> None:
    change(subject, **changed)
    with pytest.raises(ConnectionProblem) as caught:
        subject.deliver([subject.step(1)])
    assert all(word in str(caught.value) for word in words)
    assert not any(secret in str(caught.value) for secret in subject.secrets)


# Memberships: each documented answer.


def test_more_identities_than_px_takes_are_sent_in_parts(subject: GainsightPxSubject) -> None:
    for status in (413, 400):
        change(subject, max_identities=10, oversize_status=status)
        assert subject.deliver([subject.step(number, after=status) for number in range(35)]) == {}
    assert len(subject.inside()) == 35


def test_identities_px_does_not_know_are_found_out_one_by_one(subject: GainsightPxSubject) -> None:
    steps = [subject.step(number) for number in range(20)]
    for number in (3, 17):
        subject.refuse(subject.identity(number))
    assert codes(subject.deliver(steps)) == {3: "identity_refused", 17: "identity_refused"}
    assert len(subject.inside()) == 18


@pytest.mark.parametrize("feature", ["403", "404", "html"])
def test_a_subscription_without_the_feature(subject: GainsightPxSubject, feature: str) -> None:
    """The export stops at the first call, from then on before it sends anything; the connection goes on."""
    change(subject, feature=feature)
    with pytest.raises(ExportProblem, match="support"):
        subject.deliver([subject.step(1)])
    (finding,) = subject.destination.check_before_run(subject.account(), subject.export)
    assert finding.level is Level.ERROR
    assert subject.destination.check(subject.account(), [])[0].level is Level.OK
    change(subject, feature="on")
    assert levels(subject) == [Level.OK, Level.OK]
    assert subject.deliver([subject.step(1)]) == {}
    before = len(subject.wire.requests)
    assert subject.destination.check_before_run(subject.account(), subject.export) == []
    assert len(subject.wire.requests) == before


def test_without_retry_after_the_engine_decides_how_long_to_wait(subject: GainsightPxSubject) -> None:
    subject.fault({"status": 429, "body": {"externalapierror": {"status": "TOO_MANY_REQUESTS"}}}, path=MEMBERSHIP)
    with pytest.raises(Transient, match="TOO_MANY_REQUESTS") as caught:
        subject.deliver([subject.step(1)])
    assert (caught.value.taken, caught.value.retry_after) == (False, None)


@pytest.mark.parametrize("feature", ["403", "404", "html"])
def test_a_feature_that_is_switched_off(subject: GainsightPxSubject, feature: str) -> None:
    subject.deliver([subject.step(1)])
    change(subject, feature=feature)
    with pytest.raises(ExportProblem, match="feature_off"):
        subject.deliver([subject.step(2)])
    assert {one.level for one in subject.destination.check(subject.account(), [])} == {Level.OK}
    assert Level.ERROR in levels(subject)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("shows_as", ["400", "404"])
@pytest.mark.parametrize("known_to_px", ["id", "external_id"])
def test_a_membership_by_the_wrong_reference_stops_the_export(
    subject: GainsightPxSubject, known_to_px: str, shows_as: str, members: int
) -> None:
    """However few there are, nobody is blamed; and only the export stops: the connection is well."""
    change(subject, segment_ref=known_to_px, deleted_segment=shows_as)
    subject.export = subject.export_with({"segment_ref": "id" if known_to_px == "external_id" else "external_id"})
    with pytest.raises(ExportProblem, match=r"segment_unknown.*segment_ref"):
        subject.deliver([subject.step(number) for number in range(members)])
    assert {one.level for one in subject.destination.check(subject.account(), [])} == {Level.OK}
    subject.export = subject.export_with({"segment_ref": known_to_px})
    assert subject.deliver([subject.step(1)]) == {}


def test_an_identity_px_refuses_under_either_reference_is_to_blame_itself(subject: GainsightPxSubject) -> None:
    change(subject, segment_ref="id")
    step = subject.step(1)
    subject.refuse(step.identity)
    assert codes(subject.deliver([step])) == {0: "identity_refused"}


@pytest.mark.parametrize("path", [MEMBERSHIP, METADATA])
def test_what_px_says_about_somebody_stays_there(subject: GainsightPxSubject, path: str) -> None:
    sub_errors = [{"message": f"bad {subject.identity(1)}"}]
    given = {"status": "NOT FOUND OR SO", "message": f"no user {subject.identity(1)}", "subErrors": sub_errors}
    subject.fault({"status": 403, "body": {"externalapierror": given}}, path=path)
    with pytest.raises(Problem) as caught:
        subject.deliver([subject.step(1)])
    assert subject.identity(1) not in str(caught.value)
    assert "SO" not in str(caught.value)


def test_a_key_that_may_only_read(subject: GainsightPxSubject) -> None:
    subject.deliver([subject.step(1)])
    change(subject, permission="read")
    for _ in range(2):
        with pytest.raises(ExportProblem, match="may_not_write"):
            subject.deliver([subject.step(2)])
        subject.notes.kept.clear()
    findings = subject.destination.check(subject.account(), [subject.export])
    assert ["Write permission" in one.message for one in findings if one.level is Level.ERROR] == [True]


# Users: each documented answer.


def user(subject: GainsightPxSubject, number: int) -> dict[str, Any]:
    (found,) = [one for one in subject.state()["users"] if one["identifyId"] == subject.identity(number)]
    return dict(found)


def unknown(subject: GainsightPxSubject, number: int) -> Step:
    return replace(subject.step(1), identity=f"nobody {number}")


def test_nothing_else_of_a_user_is_written(users: GainsightPxAttributesSubject) -> None:
    planted = {"identifyId": users.identity(1), "email": "ann@example.com", "customAttributes": {"plan": "pro"}}
    users.sandbox.post("/_sandbox/users", json=planted)
    users.deliver([users.step(1)])
    assert user(users, 1)["customAttributes"] == {"plan": "pro", "inOne": True}
    users.deliver([users.step(1, joins=False, after=1)])
    assert user(users, 1)["customAttributes"] == {"plan": "pro", "inOne": False}
    sent = {name for body in users.wire.json_bodies() for name in body}
    assert sent == {"identifyId", "propertyKeys", "customAttributes"}
    assert user(users, 1)["email"] == "ann@example.com"
    assert users.counters()["unfit_values"] == 0


def test_all_segments_of_a_user_go_in_one_call(users: GainsightPxAttributesSubject) -> None:
    one, two = sorted(users.destination.targets(users.export))
    users.deliver([replace(users.step(number), target=target) for target in (one, two) for number in (1, 2)])
    assert operations(users)["PUT /v1/users/update"] == 2
    assert user(users, 2)["customAttributes"] == {"inOne": True, "inTwo": True}


def test_users_px_does_not_know(users: GainsightPxAttributesSubject) -> None:
    assert codes(users.deliver([users.step(1), unknown(users, 1)])) == {1: "unknown_user"}
    users.export = users.export_with({"create_users": True})
    assert users.deliver([unknown(users, 1), unknown(users, 2)]) == {}
    assert {"nobody 1", "nobody 2"} <= users.inside()
    assert users.deliver([replace(unknown(users, 3), joins=False)]) == {}
    assert "nobody 3" not in {one["identifyId"] for one in users.state()["users"]}


def test_one_who_was_created_meanwhile_is_updated(users: GainsightPxAttributesSubject) -> None:
    users.export = users.export_with({"create_users": True})
    not_found = {"externalapierror": {"status": "NOT_FOUND", "message": "User not found"}}
    users.fault({"status": 404, "body": not_found}, path=users.delivery_path)
    assert users.deliver([users.step(1)]) == {}
    assert users.inside() == {users.identity(1)}
    assert operations(users)["POST /v1/users"] == 1


def test_attributes_that_cannot_be_used(users: GainsightPxAttributesSubject) -> None:
    for attributes in ({"inTwo": "BOOLEAN"}, {"inOne": "STRING", "inTwo": "BOOLEAN"}, {"inOne": "BOOLEAN DISABLED"}):
        users.notes.kept.clear()
        change(users, attributes=attributes)
        with pytest.raises(ExportProblem, match="inOne"):
            users.deliver([users.step(1)])
        assert Level.ERROR in levels(users)
        findings = users.destination.check_before_run(users.account(), users.export)
        assert Level.ERROR in {finding.level for finding in findings}
    assert users.inside() == set()


def test_a_subscription_with_several_products(users: GainsightPxAttributesSubject) -> None:
    change(users, product_keys=["AP-ONE-2", "AP-TWO-2"])
    with pytest.raises(ExportProblem, match="product_keys"):
        users.deliver([users.step(1)])
    users.export = users.export_with({"product_keys": ["AP-TWO-2"]})
    assert users.deliver([users.step(1)]) == {}
    assert user(users, 1)["propertyKeys"] == ["AP-TWO-2"]


def test_the_mode_needs_no_external_segments(users: GainsightPxAttributesSubject) -> None:
    assert set(levels(users)) == {Level.OK}
    assert users.deliver([users.step(1)]) == {}
    assert not [name for name in operations(users) if "external_segment" in name]


def test_a_key_that_may_only_read_cannot_write_users(users: GainsightPxAttributesSubject) -> None:
    change(users, permission="read")
    with pytest.raises(ConnectionProblem, match="Write permission"):
        users.deliver([users.step(1)])
    assert Level.ERROR in levels(users)
    with pytest.raises(ConnectionProblem, match="Write permission"):
        users.destination.check(users.account(), [])
    change(users, permission="write")
    assert [one.level for one in users.destination.check(users.account(), [])] == [Level.OK]


def test_an_unknown_user_in_other_words(users: GainsightPxAttributesSubject) -> None:
    answer = {"status": 404, "body": {"errorMessage": "User not found"}}
    users.fault(answer, path=users.delivery_path, contains="nobody", times=ALWAYS)
    assert codes(users.deliver([users.step(1), unknown(users, 1)])) == {1: "unknown_user"}
    assert users.inside() == {users.identity(1)}


def test_attributes_and_product_keys_are_looked_up_once(users: GainsightPxAttributesSubject) -> None:
    for number in range(3):
        users.deliver([users.step(number)])
    assert operations(users)["GET /v1/admin/model/user/attributes"] == 1
    assert operations(users)["GET /v1/admin/subscription"] == 1


# Edits.


def by_global_id(subject: GainsightPxSubject) -> str:
    """Have an export send members by the global id; return that of person 1."""
    change(subject, workspaces=True)
    step = subject.step(1)
    subject.account_under_test.users[step.identity]["globalId"] = step.identity
    subject.export = subject.export_with({"identity_type": "GLOBAL_ID"})
    return step.identity


def test_the_type_of_identity_stays_what_members_were_sent_by(subject: GainsightPxSubject) -> None:
    """Nothing goes out until it is set back; in mode attributes who leaves goes by the type that put in."""
    identity = by_global_id(subject)
    assert subject.deliver([subject.step(1)]) == {}
    for edit in ({}, {"segment_names": {"aep/one": "New"}}):
        subject.export = replace(subject.export_with(edit), version=2)
        with pytest.raises(ExportProblem, match="identity_type_changed"):
            subject.deliver([subject.step(2)])
        assert Level.ERROR in levels(subject)
        (finding,) = subject.destination.check_before_run(subject.account(), subject.export)
        assert finding.level is Level.ERROR
    assert subject.inside() == {identity}
    former = subject.target
    change(subject, attributes={"inOne": "BOOLEAN", "inTwo": "BOOLEAN"})
    by_attributes = {"mode": "attributes", "attributes": {"aep/one": "inOne", "aep/two": "inTwo"}}
    subject.export = replace(subject.export_with(by_attributes), version=3)
    assert subject.deliver([subject.step(1, joins=False, after=1, target=former)]) == {}
    assert subject.members(former) == set()


@pytest.mark.parametrize(
    ("fault", "stays"), [({"status": 400}, False), ({"status": 500}, True), ({"drop": "after"}, True)]
)
def test_a_type_px_never_took_may_be_set_right(
    subject: GainsightPxSubject, fault: Mapping[str, Any], stays: bool
) -> None:
    by_global_id(subject)
    subject.fault(fault, path=MEMBERSHIP, times=ALWAYS)
    subject.attempt([subject.step(1)])
    subject.export = subject.export_with({})
    assert (subject.destination.check_before_run(subject.account(), subject.export) != []) == stays


def test_from_segments_to_attributes_and_back(users: GainsightPxAttributesSubject) -> None:
    """Whoever was put into a segment is taken out of it by an export that tells attributes now, and the other way."""
    change(users, feature="on")
    by_attributes = users.options()
    former = None
    for round_, options in enumerate(
        [{"mode": "segments", "attributes": {}}, by_attributes, {"mode": "segments", "attributes": {}}]
    ):
        users.export = replace(users.export_with(options), version=round_ + 2)
        joins = users.step(1, after=round_)
        leaves: list[Step] = [] if former is None else [users.step(1, joins=False, after=round_, target=former)]
        assert users.deliver([joins, *leaves]) == {}
        assert users.inside() == {users.identity(1)}
        assert former is None or users.members(former) == set()
        former = users.target


def test_a_raised_tell_again_makes_everybody_worth_telling_again(subject: GainsightPxSubject) -> None:
    given = []
    for number in (0, 0, 1):
        subject.export = subject.export_with({"tell_again": number})
        given.append(subject.step(1).values)
    assert given[0] == given[1] != given[2]


# Our own limits.


def test_a_new_name_of_a_segment_waits_for_room_as_all_else(subject: GainsightPxSubject) -> None:
    subject.deliver([subject.step(1)])
    subject.limit.problem = lambda: Busy("throttled", "our own side is at its limit")
    outcomes = []
    for at in range(1, 12):
        name = f"Loyal {at}"
        subject.export = subject.export_with({"segment_names": {"aep/one": name}})
        subject.limit.met, subject.limit.at = 0, at
        try:
            subject.destination.send(subject.account(), subject.export, [subject.step(1)])
        except Busy:
            outcomes.append("waits")
        else:
            assert told_of(subject, "aep/one")["name"] == name
            outcomes.append("told")
    assert outcomes == sorted(outcomes, reverse=True)
    assert set(outcomes) == {"waits", "told"}


def test_a_probe_that_has_no_room_is_no_probe_in_vain(subject: GainsightPxSubject) -> None:
    """What was refused is held closed for a number of probes: our own limit is none of them."""
    subject.deliver([subject.step(1)])
    subject.fault({"status": 403}, path=subject.delivery_path, times=ALWAYS)
    with pytest.raises(ConnectionProblem):
        subject.deliver([subject.step(2)])
    subject.limit.problem = lambda: Busy("throttled", "our own side is at its limit")
    probes = 0
    for probe in range(3 * MOST_PROBES):
        # The first call of a probe and a look at the notes have room, the call that was refused has none.
        subject.limit.met, subject.limit.at = 0, 3 if probe % 3 else None
        with pytest.raises(Problem) as caught:
            subject.destination.check(subject.account(), [])
        probes += not isinstance(caught.value, Busy)
    assert probes == MOST_PROBES
