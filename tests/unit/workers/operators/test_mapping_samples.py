"""What a sample of stored profiles says of a mapping: misspelt names are told with what is there instead."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from relay.destinations.activecampaign import DESTINATION as ACTIVECAMPAIGN
from relay.destinations.contract import Destination, Finding, Level
from relay.destinations.gainsight_px import DESTINATION as GAINSIGHT_PX
from relay.domain.exports import Export
from relay.domain.problems import Actor, Busy
from relay.domain.profiles import Membership, Profile, Register
from relay.stores import profiles as profile_store
from relay.stores import segments
from relay.stores.database import Item
from relay.workers.operators.mapping_samples import MOST_PROFILES, MOST_QUERIES, Trial, look_at
from tests.examples import example
from tests.fakes.memory_database import MemoryDatabase

AT = datetime(2026, 5, 1, tzinfo=UTC)
VIP, LAPSED = "shop/vip", "shop/lapsed"
DESTINATIONS: dict[str, Destination] = {"activecampaign": ACTIVECAMPAIGN, "gainsight_px": GAINSIGHT_PX}
OPTIONS = {"activecampaign": {"list_id": "7"}, "gainsight_px": {}}


def export(destination: str = "activecampaign", segments: tuple[str, ...] = (VIP,), **mapping: str) -> Export:
    options = DESTINATIONS[destination].options_model.model_validate(OPTIONS[destination])
    return Export("acme", "main", destination, True, True, segments, mapping, options, 1)


def member(number: int = 0, *, realized: bool = True, segment: str = VIP, **attributes: Any) -> Profile:
    given = {"email": f"kim{number}@example.com", "firstName": "Kim", "address": {"city": "Ulm"}, **attributes}
    return Profile(
        id=f"{number % 256:02x}{number:030x}",
        source="shop",
        identities={"crm": Register([f"c-{number}"], AT, AT)},
        attributes={name: Register(value, AT, AT) for name, value in given.items()},
        memberships={segment: Membership(realized, AT, AT)},
    )


def tried(mapping: dict[str, str], *people: Profile, destination: str = "activecampaign") -> list[Finding]:
    trial = Trial(replace(export(destination), mapping=mapping), DESTINATIONS[destination])
    for person in people or (member(1), member(2), member(3)):
        trial.add(person)
    return trial.findings()


def one_finding(field: str, text: str, *people: Profile) -> Finding:
    mapping = {field: text} if field == "email" else {"email": "attributes.email", field: text}
    (found,) = tried(mapping, *people)
    assert found.subject == "acme/main"
    assert f"mapping.{field}: {text}" in found.message
    return found


def test_an_identity_that_nobody_has_is_an_error() -> None:
    table: list[tuple[str, str]] = [
        ("attribute.email", "there is no attribute at the top, did you mean attributes?"),
        ("attribute.email", "There are attributes, identities, source"),
        ("attributes.emial", "there is no emial in attributes, did you mean email?"),
        ("attributes.Email", "did you mean email?"),
        ("attributes.emial", "There are address, email, firstName"),
        ("identities.crmm", "there is no crmm in identities, did you mean crm?"),
        ("identities.crmm[0]", "There are crm"),
        ("attributes.address.ctiy", "there is no ctiy in attributes.address, did you mean city?"),
        ("attributes.zzz", "there is no zzz in attributes. There are"),
        ("attributes.emial || attributes.mail", "there is no emial in attributes"),
        ("join(' ', [attributes.frstName, attributes.lastName])", "there is no frstName in attributes"),
        ("attributes.orders[?total > `1`] | [0].mail", "there is no orders in attributes"),
        ("attributes.firstName", "(malformed_email 3)"),
        ("attributes.address", "(malformed_email 3)"),
        ("attributes.address.city.x", "(no_email 3)"),
        ("length(attributes.email) | sum([@, `1`]) | abs(@) | to_string(@) | @", "(malformed_email 3)"),
        ("sum(attributes.email)", "(unfit_expression 3)"),
    ]
    for text, given in table:
        with example(text, given):
            found = one_finding("email", text)
            assert found.level is Level.ERROR
            assert "yields nothing for any of 3 profiles tried" in found.message
            assert given in found.message


@pytest.mark.parametrize(
    ("field", "text", "given"),
    [
        ("first_name", "attributes.firstname", "did you mean firstName?"),
        ("fields.4", "attributes.address", "what it finds is empty, or no text, number or list of these"),
        ("tags", "attributes.tags", "there is no tags in attributes"),
        ("phone", "join('', [attributes.prefix, attributes.phone])", "there is no prefix in attributes"),
    ],
)
def test_an_optional_field_that_nobody_has_is_a_warning(field: str, text: str, given: str) -> None:
    found = one_finding(field, text)
    assert found.level is Level.WARNING
    assert given in found.message


def test_a_share_for_whom_it_cannot_be_worked_out() -> None:
    people = [member(1, lastName="Lee"), member(2), member(3)]
    text = "join(' ', [attributes.firstName, attributes.lastName])"
    found = one_finding("first_name", text, *people)
    assert found.level is Level.WARNING
    assert "cannot be worked out for 2 of 3 profiles: they go without it" in found.message
    identity = one_finding(
        "email", "attributes.email || join('', [attributes.lastName])", *people, member(4, email=None)
    )
    assert identity.level is Level.WARNING
    assert "for 1 of 4 profiles: they are rejected (unfit_expression)" in identity.message


@pytest.mark.parametrize(
    "mapping",
    [
        {"email": "attributes.email"},
        {"email": "attributes.emial || attributes.email", "first_name": "attributes.firstName"},
        {"email": "identities.email[0] || attributes.email", "fields.1": "'constant'"},
    ],
)
def test_a_mapping_that_finds_somebody_says_nothing(mapping: dict[str, str]) -> None:
    assert tried(mapping) == []


def test_an_attribute_that_few_have_is_no_finding() -> None:
    people = [member(number) for number in range(50)]
    assert tried({"email": "attributes.email", "phone": "attributes.phone"}, *people, member(50, phone="1")) == []


def test_without_anybody_nothing_is_said() -> None:
    assert Trial(export(email="attribute.email"), ACTIVECAMPAIGN).findings() == []


def test_gainsight_px_has_an_identity_too() -> None:
    (found,) = tried({"IDENTIFY_ID": "identities.ecid"}, destination="gainsight_px")
    assert found.level is Level.ERROR
    assert "there is no ecid in identities. There are crm" in found.message


def test_keys_that_may_be_personal_are_not_told() -> None:
    friends = ["ada@example.com", "Ada Lovelace", "+49 170 1", "1001", "x" * 41, "Ada"]
    people = [member(number, friends={**dict.fromkeys(friends[:-1], 1), f"friend{number}": 1}) for number in range(20)]
    found = one_finding("email", "attributes.friends.emial", *people)
    assert "there is no emial in attributes.friends. No key is there" in found.message
    for friend in [*friends, "friend1", "kim1"]:
        assert friend not in found.message


def test_many_keys_are_told_in_part() -> None:
    keys: dict[str, Any] = {f"key{key}": 1 for key in range(2000)}
    people = [member(number, **keys) for number in range(2)]
    found = one_finding("email", "attributes.emial", *people)
    assert "did you mean email?" in found.message
    assert len(found.message) < 500


# Read from the stores.


class CountingDatabase(MemoryDatabase):
    def __init__(self) -> None:
        super().__init__()
        self.gets = 0

    @property
    def queries(self) -> int:
        return sum(step.startswith("query") for step in self.steps)

    def get(self, keys: Any) -> list[Item | None]:
        self.gets += len(keys)
        return super().get(keys)


def stored(*people: Profile) -> CountingDatabase:
    database = CountingDatabase()
    segments.add(database, [(segment, person.id) for person in people for segment in person.memberships])
    profile_store.save(database, people, AT)
    return database


def test_one_member_among_leavers_is_found() -> None:
    database = stored(*(member(number, realized=False) for number in range(30)), member(77))
    (found,) = look_at(database, DESTINATIONS.__getitem__, [export(email="attributes.emial")])
    assert "for any of 1 profile tried" in found.message


def test_members_of_any_of_the_segments_count() -> None:
    database = stored(member(1, segment="shop/other"), member(2, segment=LAPSED))
    (found,) = look_at(database, DESTINATIONS.__getitem__, [export(segments=(VIP, LAPSED), email="attributes.emial")])
    assert "for any of 1 profile tried" in found.message


def test_the_sample_is_bounded() -> None:
    people = [member(number) for number in range(3000)]
    database = stored(*people)
    names = tuple(f"shop/s{number}" for number in range(50))
    database.steps.clear()
    database.gets = 0
    (found,) = look_at(database, DESTINATIONS.__getitem__, [export(segments=(VIP,), email="attributes.emial")])
    assert f"for any of {MOST_PROFILES} profiles tried" in found.message
    assert database.queries <= MOST_QUERIES
    assert database.gets <= 2 * MOST_PROFILES
    database.steps.clear()
    assert look_at(database, DESTINATIONS.__getitem__, [export(segments=names, email="attributes.emial")]) == []
    assert database.queries <= MOST_QUERIES


def test_the_time_for_all_exports_of_a_connection_is_bounded() -> None:
    database = stored(*(member(number) for number in range(300)))
    ticks = iter(range(10_000))
    exports = [export(email="attributes.emial")] * 3
    found = look_at(database, DESTINATIONS.__getitem__, exports, lambda: float(next(ticks)))
    assert database.queries < 30
    assert [finding.level for finding in found] == [Level.ERROR, Level.OK, Level.OK]
    assert "no time was left" in found[-1].message


def test_trouble_is_a_finding() -> None:
    class Broken(MemoryDatabase):
        def query(self, *args: Any, **kwargs: Any) -> list[Item]:
            raise Busy("throttled", "DynamoDB is busy")

    (found,) = look_at(Broken(), DESTINATIONS.__getitem__, [export(email="attributes.email")])
    assert (found.level, "DynamoDB is busy" in found.message) == (Level.WARNING, True)


def test_a_profile_that_our_own_code_trips_over_leaves_the_others_to_be_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    database = MemoryDatabase()
    people = [member(number, firstName="odd" if number == 2 else "Kim") for number in range(1, 6)]
    profile_store.save(database, people, AT)
    segments.add(database, [(VIP, one.id) for one in people])
    read = profile_store.read

    def unreadable(database: MemoryDatabase, ids: Sequence[str]) -> Any:
        if people[3].id in ids:
            raise KeyError("kim4@example.com")
        return read(database, ids)

    class Tripping(type(ACTIVECAMPAIGN)):  # type: ignore[misc]
        def encode(self, target: str, value: Any) -> str | None:
            if value == "odd":
                raise LookupError("kim2@example.com")
            encoded: str | None = super().encode(target, value)
            return encoded

    monkeypatch.setattr(profile_store, "read", unreadable)
    mapped = export(email="attributes.email", first_name="attributes.firstName", phone="attributes.phonne")
    phone, defect = look_at(database, lambda name: Tripping(), [mapped])

    assert "mapping.phone: attributes.phonne yields nothing for any of 3 profiles tried" in phone.message
    assert (defect.subject, defect.level, defect.actor) == ("acme/main", Level.ERROR, Actor.US)
    for part in ("on 2 profiles", "LookupError", "test_mapping_samples.py", "encode"):
        assert part in defect.message
    assert "example.com" not in defect.message


def test_a_path_of_many_names_is_looked_at_in_part() -> None:
    assert "there is no a in attributes" in one_finding("email", ".".join(["attributes", *"abcdefghijkl"])).message


def of_only_if(text: str, *people: Profile) -> list[Finding]:
    trial = Trial(replace(export(email="attributes.email"), only_if=text), ACTIVECAMPAIGN)
    for person in people or (member(1), member(2), member(3)):
        trial.add(person)
    return trial.findings()


def test_an_only_if_that_is_true_for_nobody_is_shown_with_the_name_that_is_meant() -> None:
    (found,) = of_only_if("attributes.frstName == 'Kim'")
    assert (found.level, found.actor) == (Level.WARNING, Actor.ADMINISTRATOR)
    assert "only_if: attributes.frstName == 'Kim' is true for none of 3 profiles tried" in found.message
    assert "did you mean firstName?" in found.message
    (found,) = of_only_if("attributes.firstName == 'Lee'")
    assert found.message.endswith("is true for none of 3 profiles tried")


def test_an_only_if_that_is_neither_true_nor_false_is_shown_with_the_number_of_profiles() -> None:
    (found,) = of_only_if("attributes.adult", member(1, adult=True), member(2, adult="yes"))
    assert found.message == (
        "only_if: attributes.adult is neither true nor false for 1 of 2 profiles: "
        "they neither join nor leave (unfit_only_if)"
    )


def test_an_only_if_that_is_true_for_somebody_is_no_finding() -> None:
    assert of_only_if("attributes.firstName == 'Kim'") == []
