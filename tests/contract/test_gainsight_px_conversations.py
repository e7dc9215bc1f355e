"""What only Gainsight PX does: its log-in, its segments and their texts, its users, and each of its documented answers.

https://px-apidocs.gainsight.com. Where that documents nothing, the sandbox can be set to each thinkable answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from relay.delivery.cases import Job
from relay.delivery.engine import Engine
from relay.delivery.wakeups import Wakeups
from relay.destinations.contract import Level, Step
from relay.destinations.gainsight_px import GainsightPx
from relay.destinations.gainsight_px.token import Tokens
from relay.domain.keyed_hash import KeyedHash
from relay.domain.problems import ConnectionProblem, ExportProblem, Problem, Rejection, Transient
from relay.domain.profiles import Membership, Profile, Register
from relay.domain.runs import Outcome
from relay.stores import profiles, segments
from tests.contract.gainsight_px_subject import GainsightPxAttributesSubject, GainsightPxSubject
from tests.contract.subject import START
from tests.fakes.clock import FakeClock
from tests.fakes.delivery_bench import Outbox
from tests.fakes.memory_database import MemoryDatabase

MEMBERSHIP = "^/v1/external_segment/update_membership"
METADATA = "^/v1/external_segment/metadata"
TOKEN = "^/oauth/token"
ALWAYS: int | None = None


@pytest.fixture
def subject() -> GainsightPxSubject:
    return GainsightPxSubject()


@pytest.fixture
def users() -> GainsightPxAttributesSubject:
    return GainsightPxAttributesSubject()


def change(subject: GainsightPxSubject, **settings: Any) -> None:
    answer = subject.sandbox.post("/_sandbox/settings", json=settings)
    assert answer.status_code == 200, answer.get_data(as_text=True)


def delete_segment(subject: GainsightPxSubject, segment: str) -> None:
    assert subject.sandbox.delete(f"/_sandbox/segments/{segment}").status_code == 200


def codes(refused: Mapping[int, Rejection]) -> dict[int, str]:
    return {index: rejection.code for index, rejection in refused.items()}


def operations(subject: GainsightPxSubject) -> dict[str, int]:
    calls: dict[str, int] = subject.counters()["operations"]
    return calls


def levels(subject: GainsightPxSubject) -> list[Level]:
    return [finding.level for finding in subject.destination.check(subject.account(), [subject.export])]


def told_of(subject: GainsightPxSubject, segment: str) -> dict[str, Any]:
    (found,) = [one for one in subject.state()["segments"] if one["externalId"] == segment]
    return dict(found)


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
    assert subject.members() == {subject.identity(1), subject.identity(2)}


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


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_token_address_in_trouble_is_tried_again(subject: GainsightPxSubject, status: int) -> None:
    subject.fault({"status": status, "headers": {"Retry-After": "9"}}, path=TOKEN)
    with pytest.raises(Transient) as caught:
        subject.deliver([subject.step(1)])
    assert (caught.value.taken, caught.value.retry_after) == (False, timedelta(seconds=9))
    assert subject.deliver([subject.step(1)]) == {}


def test_a_log_in_page_is_no_token(subject: GainsightPxSubject) -> None:
    subject.fault({"html": True}, path=TOKEN)
    with pytest.raises(ConnectionProblem, match="token_url"):
        subject.deliver([subject.step(1)])


# Segments.


def test_a_segment_is_made_once_and_carries_the_platforms_name(subject: GainsightPxSubject) -> None:
    account = replace(subject.account(), segment_name={"aep/one": "Loyal buyers"}.get)
    for number in range(3):
        subject.destination.send(account, subject.export, [subject.step(number)])
    assert told_of(subject, "aep/one")["name"] == "Loyal buyers"
    assert operations(subject)["POST /v1/external_segment/metadata"] == 1
    assert "PUT /v1/external_segment/metadata" not in operations(subject)


def test_renaming_reaches_px_once(subject: GainsightPxSubject) -> None:
    subject.deliver([subject.step(1)])
    subject.export = subject.export_with(
        {"segment_names": {"aep/one": "Loyal"}, "segment_descriptions": {"aep/one": "Buys often"}}
    )
    subject.deliver([subject.step(2)])
    subject.deliver([subject.step(3)])
    told = told_of(subject, "aep/one")
    assert (told["name"], told["description"], told["member_count"]) == ("Loyal", "Buys often", 3)
    assert operations(subject)["PUT /v1/external_segment/metadata"] == 1


def test_a_segment_that_was_there_before_us_is_taken_over(subject: GainsightPxSubject) -> None:
    subject.deliver([subject.step(1)])
    subject.notes.kept.clear()
    subject.export = subject.export_with({"segment_names": {"aep/one": "Loyal"}})
    assert subject.deliver([subject.step(2)]) == {}
    assert (told_of(subject, "aep/one")["name"], len(subject.state()["segments"])) == ("Loyal", 1)


def test_a_name_px_does_not_change_is_a_warning_and_no_more(subject: GainsightPxSubject) -> None:
    subject.deliver([subject.step(1)])
    change(subject, renames="refused")
    subject.export = subject.export_with({"segment_names": {"aep/one": "Loyal"}})
    assert subject.deliver([subject.step(2)]) == {}
    assert Level.WARNING in levels(subject)
    assert Level.ERROR not in levels(subject)


@pytest.mark.parametrize("shows_as", ["400", "404"])
@pytest.mark.parametrize("reference", ["id", "external_id"])
def test_one_deleted_in_px_is_made_again(subject: GainsightPxSubject, shows_as: str, reference: str) -> None:
    change(subject, deleted_segment=shows_as, segment_ref=reference)
    subject.export = subject.export_with({"segment_ref": reference})
    subject.deliver([subject.step(number) for number in range(3)])
    delete_segment(subject, "aep/one")
    assert subject.deliver([subject.step(number) for number in range(3, 9)]) == {}
    assert subject.members() == {subject.identity(number) for number in range(3, 9)}
    assert Level.WARNING in levels(subject)


def test_segments_in_one_call_keep_their_members_apart(subject: GainsightPxSubject) -> None:
    one, two = sorted(subject.destination.targets(subject.export))
    steps = [subject.step(1), replace(subject.step(1), target=two), replace(subject.step(2), target=two)]
    assert {step.target for step in steps} == {one, two}
    subject.deliver(steps)
    assert operations(subject)["POST /v1/external_segment/update_membership"] == 1
    members = {segment["externalId"]: segment["member_count"] for segment in subject.state()["segments"]}
    assert members == {"aep/one": 1, "aep/two": 2}


# Memberships: each documented answer.


def test_more_identities_than_px_takes_are_sent_in_parts(subject: GainsightPxSubject) -> None:
    for status in (413, 400):
        change(subject, max_identities=10, oversize_status=status)
        assert subject.deliver([subject.step(number, after=status) for number in range(35)]) == {}
    assert len(subject.members()) == 35


def test_identities_px_does_not_know_are_found_out_one_by_one(subject: GainsightPxSubject) -> None:
    change(subject, unknown_users="reject")
    known = [{"identifyId": subject.identity(number)} for number in range(20) if number not in (3, 17)]
    subject.sandbox.post("/_sandbox/users", json={"users": known})
    refused = subject.deliver([subject.step(number) for number in range(20)])
    assert codes(refused) == {3: "identity_refused", 17: "identity_refused"}
    assert len(subject.members()) == 18


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


@pytest.mark.parametrize("known_to_px", ["id", "external_id"])
def test_a_membership_by_the_wrong_reference_stops_the_export(subject: GainsightPxSubject, known_to_px: str) -> None:
    """And only it: the connection is well."""
    change(subject, segment_ref=known_to_px, deleted_segment="404")
    subject.export = subject.export_with({"segment_ref": "id" if known_to_px == "external_id" else "external_id"})
    with pytest.raises(ExportProblem, match="segment_ref"):
        subject.deliver([subject.step(1)])
    assert {one.level for one in subject.destination.check(subject.account(), [])} == {Level.OK}
    subject.export = subject.export_with({"segment_ref": known_to_px})
    assert subject.deliver([subject.step(1)]) == {}


@pytest.mark.parametrize("shows_as", ["400", "404"])
@pytest.mark.parametrize("reference", ["id", "external_id"])
def test_two_workers_meet_a_deleted_segment(subject: GainsightPxSubject, shows_as: str, reference: str) -> None:
    """The other delivers wholly, making the segment again, between our reading of its id and our call."""
    change(subject, deleted_segment=shows_as, segment_ref=reference)
    subject.export = subject.export_with({"segment_ref": reference})
    subject.deliver([subject.step(1)])
    delete_segment(subject, "aep/one")
    account = subject.account()

    def overtaken(method: str, url: str, **named: Any) -> Any:
        nonlocal account
        if account.call is not overtaken:
            return account.call(method, url, **named)
        account = replace(account, call=plain)
        subject.deliver([subject.step(2)])
        return plain(method, url, **named)

    plain = account.call
    account = replace(account, call=overtaken)
    steps = [subject.step(number) for number in range(3, 8)]
    assert subject.destination.send(account, subject.export, steps).refused == {}
    assert subject.members() == {subject.identity(number) for number in range(2, 8)}


def test_a_success_whose_body_is_a_text_is_one(subject: GainsightPxSubject) -> None:
    told = {"status": 200, "body": "Success", "headers": {"Content-Type": "application/json"}}
    subject.fault(told, path=MEMBERSHIP)
    assert subject.deliver([subject.step(1)]) == {}


@pytest.mark.parametrize("path", [MEMBERSHIP, METADATA])
def test_what_px_says_about_somebody_stays_there(subject: GainsightPxSubject, path: str) -> None:
    sub_errors = [{"message": f"bad {subject.identity(1)}"}]
    told = {"status": "NOT FOUND OR SO", "message": f"no user {subject.identity(1)}", "subErrors": sub_errors}
    subject.fault({"status": 403, "body": {"externalapierror": told}}, path=path)
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
    sent = {name for body in users.adapter.json_bodies() for name in body}
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
    assert {"nobody 1", "nobody 2"} <= users.members()
    assert users.deliver([replace(unknown(users, 3), joins=False)]) == {}
    assert "nobody 3" not in {one["identifyId"] for one in users.state()["users"]}


def test_one_who_was_created_meanwhile_is_updated(users: GainsightPxAttributesSubject) -> None:
    users.export = users.export_with({"create_users": True})
    not_found = {"externalapierror": {"status": "NOT_FOUND", "message": "User not found"}}
    users.fault({"status": 404, "body": not_found}, path=users.delivery_path)
    assert users.deliver([users.step(1)]) == {}
    assert users.members() == {users.identity(1)}
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
    assert users.members() == set()


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
    assert users.members() == {users.identity(1)}


# With the engine.


class Delivery:
    """The engine over an empty database, delivering to a subject's sandbox."""

    def __init__(self, subject: GainsightPxSubject) -> None:
        self.subject = subject
        self.clock = FakeClock(START)
        self.database = MemoryDatabase()
        queue = Outbox(lambda _: None)
        wakeups = Wakeups(lambda _: queue, queue, lambda _: subject.destination.shards, self.clock)
        self.engine = Engine(self.database, KeyedHash("px"), self.clock, wakeups)
        self.version = subject.export.version

    def edit(self, **options: Any) -> None:
        self.version += 1
        self.subject.export = replace(self.subject.export_with(options), version=self.version)

    def profile(self, *ids: str, at: datetime | None = None, **memberships: bool) -> Outcome:
        """Store the one profile as it is now and deliver it; memberships are of `aep/one` and `aep/two`."""
        self.clock.advance(60)
        now = self.clock.now()
        inside = {f"aep/{name}": Membership(realized, at or now, now) for name, realized in memberships.items()}
        segments.add(self.database, [(segment, PERSON) for segment in inside])
        old = profiles.load(self.database, [PERSON])[0] or Profile(PERSON, "aep")
        identities = {"ECID": Register(list(ids), now, now)}
        changed = replace(old, identities=identities, memberships={**old.memberships, **inside})
        profiles.save(self.database, [changed], now)
        return self.deliver()

    def deliver(self) -> Outcome:
        job = Job(self.subject.export, self.subject.destination, self.subject.account())
        return self.engine.deliver(job, [PERSON])[PERSON].outcome


PERSON = "00" * 16


def test_when_an_identity_changes_the_old_one_leaves_and_the_new_one_joins(subject: GainsightPxSubject) -> None:
    delivery = Delivery(subject)
    delivery.profile("old", one=True, two=True)
    assert delivery.profile("new") is Outcome.DELIVERED
    assert [segment["members"] for segment in subject.state()["segments"]] == [["new"], ["new"]]
    writes = subject.counters()["writes"]
    assert delivery.profile("new") is Outcome.UNCHANGED
    assert subject.counters()["writes"] == writes


def test_all_identities_of_a_namespace_where_the_export_says_so(subject: GainsightPxSubject) -> None:
    delivery = Delivery(subject)
    delivery.edit(multiple_identities="all")
    delivery.profile("b", "a", one=True)
    assert subject.members() == {"a", "b"}
    delivery.profile("c", "b")
    assert subject.members() == {"b", "c"}
    delivery.profile("c", "b", one=False)
    assert subject.members() == set()


def test_times_told_never_go_backwards(subject: GainsightPxSubject) -> None:
    delivery = Delivery(subject)
    for round_, realized in enumerate([True, False, True, False]):
        delivery.profile("a", one=realized, at=START - timedelta(days=round_))
    assert subject.members() == set()
    assert subject.counters()["identities_told"] == 4
    assert subject.counters()["times_backwards"] == 0


def test_everybody_is_told_again_after_a_segment_was_lost(subject: GainsightPxSubject) -> None:
    delivery = Delivery(subject)
    delivery.profile("a", one=True)
    delete_segment(subject, "aep/one")
    assert delivery.deliver() is Outcome.UNCHANGED
    delivery.edit(tell_again=1)
    assert delivery.deliver() is Outcome.DELIVERED
    assert subject.members() == {"a"}


def test_from_segments_to_attributes_and_back(users: GainsightPxAttributesSubject) -> None:
    change(users, feature="on")
    users.sandbox.post("/_sandbox/users", json={"identifyId": "a"})
    by_attributes = users.options()
    delivery = Delivery(users)
    delivery.edit(mode="segments", attributes={})
    delivery.profile("a", one=True)
    assert told_of(users, "aep/one")["members"] == ["a"]
    assert users.members() == set()
    delivery.edit(**by_attributes)
    delivery.deliver()
    assert told_of(users, "aep/one")["members"] == []
    assert users.members() == {"a"}
    delivery.edit(mode="segments", attributes={})
    delivery.deliver()
    assert told_of(users, "aep/one")["members"] == ["a"]
    assert users.members() == set()
