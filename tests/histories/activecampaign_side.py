"""ActiveCampaign in a history: four ways out, imports that end in every way, and people who act by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from flask import Flask

from relay.destinations.activecampaign import ActiveCampaign
from relay.destinations.activecampaign.mapping import Leaving, leaving, name_in, target_of
from relay.destinations.activecampaign.settings import ActiveCampaignOptions
from relay.destinations.contract import Destination
from relay.domain.assignment import Pair
from relay.domain.exports import Export
from relay.domain.identity import Record
from relay.domain.problems import Rejection
from sandboxes.activecampaign import create_app
from sandboxes.activecampaign.account import ActiveCampaignAccount
from sandboxes.activecampaign.contacts import Contact, ListStatus
from sandboxes.activecampaign.settings import ActiveCampaignConfig
from tests.fakes.virtual_clock import VirtualClock
from tests.histories import activecampaign_trouble
from tests.histories.people import Person, Wanted
from tests.histories.side import CONNECTION, FIRST, SECOND, SEGMENTS, Side, Stored

LIST = 7
OTHER_LIST = 8
"""Not ours: people come to it and leave it by hand."""
SPARE_LIST = 9
"""Ours, too, for two exports at once; nobody acts there by hand."""
MARK = 2
"""The custom field that marks who is in, with `set_field`."""
SUBSCRIBED, UNSUBSCRIBED = 1, 2
LIST_WAYS: tuple[dict[str, Any], ...] = (
    {"on_exit": "keep"},
    {"on_exit": "unsubscribe"},
    {"on_exit": "unsubscribe", "resubscribe": False},
)
WAYS = (
    *LIST_WAYS,
    {"on_exit": "set_field", "exit_field": str(MARK), "value_in": "among-us", "value_out": "gone"},
    {"on_exit": "remove_tag", "tag": "Member"},
)
MAPPINGS: Mapping[str, Mapping[str, str]] = {
    FIRST: {"email": "attributes.email", "first_name": "attributes.name", "fields.1": "attributes.colour"},
    SECOND: {"email": "attributes.email", "fields.3": "attributes.name"},
}
"""Two exports may be about one contact, so each writes values of its own."""


class ActiveCampaignSide(Side):
    """By hand: people unsubscribe and subscribe again, addresses are excluded and bounce."""

    name = "activecampaign"

    def __init__(self, chance: Random, clock: VirtualClock) -> None:
        super().__init__(chance, clock)
        self.account: ActiveCampaignAccount = self.app.extensions["sandbox"]
        self.hand: dict[str, int] = {}
        """What was last done by hand to the subscription of an address."""
        self.had_enough: set[str] = set()
        """Who unsubscribed by hand from the other list after the relay had unsubscribed them from ours."""
        self._deleted: set[str] = set()
        self._targets: set[str] = set()
        self._left_silently: set[str] = set()
        """Targets that people may have left without a call: under other options, or by losing the mark of a member."""

    def new_destination(self) -> Destination:
        return ActiveCampaign()

    def _app(self) -> Flask:
        config = ActiveCampaignConfig(
            api_key="s3cret-key",
            lists={LIST: "News", OTHER_LIST: "Offers", SPARE_LIST: "Extra"},
            fields={1: "text", MARK: "text", 3: "text"},
            processing_seconds=self.chance.choice([2.0, 6.0, 200.0]),
            success_lists=self.chance.choice(["created", "created_or_updated"]),
            excluded_at=self.chance.choice(["both", "queue", "import"]),
            removed_in_import=self.chance.choice(["subscribes", "refuses"]),
            ids_filter=self.chance.random() < 0.7,
        )
        return create_app(config, clock=self.clock.timestamp, sleep=self.clock.advance)

    def _export(self) -> Export:
        stream = self.chance.random() < 0.5
        options = _options(LIST, self.chance.choice(WAYS))
        return Export(CONNECTION, FIRST, self.name, True, stream, SEGMENTS, MAPPINGS[FIRST], options, 0)

    def _secret(self) -> dict[str, str]:
        return {"api_host": "acme.api-us1.com", "api_key": "s3cret-key"}

    # Settings.

    def _edited(self, export: Export, *, alone: bool) -> Export:
        roll, mapping = self.chance.random(), MAPPINGS[export.name]
        if roll < 0.3:
            segments = SEGMENTS if len(export.segments) == 1 else SEGMENTS[:1]
            return replace(export, segments=segments)
        if roll < 0.6:
            is_whole = export.mapping == mapping
            kept = {name: where for name, where in mapping.items() if not is_whole or name != "fields.1"}
            return replace(export, mapping=kept)
        ways = WAYS if export.name == FIRST or alone else LIST_WAYS
        return replace(export, options=_options(export.options.list_id, self.chance.choice(ways)))

    def _second(self, first: Export) -> Export:
        name = SECOND if first.name == FIRST else FIRST
        return replace(first, name=name, mapping=MAPPINGS[name])

    def _shared(self, first: Export, second: Export) -> tuple[Export, Export]:
        lists = self.chance.sample((LIST, SPARE_LIST), 2)
        given = first.options.model_dump(exclude_unset=True)
        return (
            replace(first, options=_options(lists[0], given)),
            replace(second, options=_options(lists[1], self.chance.choice(LIST_WAYS))),
        )

    # People.

    def person(self, number: int, crowd: int) -> Person:
        person = Person(number)
        person.attributes = {"email": self._email(number, crowd), "name": self._name(), "colour": self._name()}
        return person

    def edit(self, person: Person, crowd: int) -> None:
        kind = self.chance.choice(["name", "name", "colour", "email"])
        person.attributes[kind] = self._email(person.number, crowd) if kind == "email" else self._name()

    def _email(self, number: int, crowd: int) -> str | None:
        roll = self.chance.random()
        if roll < 0.08:
            # The last one is good by the rules we check; ActiveCampaign's own refuse it.
            return self.chance.choice([None, "", "nonsense", "a@b", "odd@example.xn--p1ai"])
        address = f"person{number if roll < 0.6 else self.chance.randrange(crowd)}@example.com"
        return address if roll < 0.95 else f" {address.capitalize()} "

    def _name(self) -> str | None:
        return self.chance.choice(["Ann", "Bob", 'He said "}],[{\\" & left', "Zoë", None])

    # Trouble.

    def fault(self) -> dict[str, Any]:
        return activecampaign_trouble.fault(self.chance)

    def by_hand(self, people: Sequence[Person]) -> str | None:
        ours = [
            contact.email
            for contact in self.account.contacts.values()
            if (standing := self._standing(contact)) and (standing.status, standing.by) == (UNSUBSCRIBED, "api")
        ]
        if ours and self.chance.random() < 0.3:
            return self._at_other_list(self.chance.choice(ours))
        known = self.destination.identity_of(self.chance.choice(people).attributes["email"], self.export)
        if isinstance(known, Rejection) or not known[0].endswith(".com"):
            return None
        email = known[0]
        contact = self.account.contact_by_email(email)
        roll = self.chance.random()
        if roll < 0.3:
            outcomes = activecampaign_trouble.import_outcomes(self.chance, self._emails_of(people))
            self.post("import_outcomes", outcomes)
            is_lost = "seconds" in outcomes[0] and self.chance.random() < 0.9
            if is_lost:
                self.post("faults", [activecampaign_trouble.LOST])
            return f"the next imports end {outcomes}" + " and the first is not answered" * is_lost
        if roll < 0.36:
            word = self.chance.choice(["excluded", "bounced"])
            self.post("contacts", {"email": email, word: True})
            return f"{email} is {word}"
        if roll < 0.4 and self.hand.get(email) != UNSUBSCRIBED:
            self._deleted.add(email)
            self.had_enough.discard(email)
            return f"{email} is deleted" if self.account.delete(email) else None
        standing = self._standing(contact)
        if roll < 0.44:
            return self._at_other_list(email)
        again = standing is not None and standing.status == UNSUBSCRIBED and self.chance.random() < 0.3
        status = SUBSCRIBED if again else UNSUBSCRIBED
        # The times a list entry shows are whole seconds: two changes within one look like one.
        self.clock.advance(1)
        self.post("contacts", {"email": email, "lists": {str(LIST): status}})
        self.clock.advance(1)
        self.hand[email] = status
        self.had_enough.discard(email)
        return f"{email} sets its subscription to {status} by hand"

    def _at_other_list(self, email: str) -> str:
        standing = self._standing(self.account.contact_by_email(email))
        status = self.chance.choice([SUBSCRIBED, UNSUBSCRIBED, UNSUBSCRIBED])
        self.clock.advance(1)
        self.post("contacts", {"email": email, "lists": {str(OTHER_LIST): status}})
        self.clock.advance(1)
        if status == SUBSCRIBED:
            self.had_enough.discard(email)
        elif standing is not None and standing.status == UNSUBSCRIBED:
            self.had_enough.add(email)
        return f"{email} sets its subscription to the other list to {status} by hand"

    @staticmethod
    def _emails_of(people: Sequence[Person]) -> list[str]:
        return [email.strip().lower() for person in people if (email := person.attributes["email"])]

    def calm(self) -> None:
        super().calm()
        self.account.next_outcomes.clear()

    # What must be true.

    def complaints(self) -> list[str]:
        """Nobody who unsubscribed by hand is subscribed, be it from another list since the relay unsubscribed them."""
        self.account.settle()
        away = {email for email, status in self.hand.items() if status == UNSUBSCRIBED} | self.had_enough
        return [
            f"{email} unsubscribed by hand and is subscribed by {standing.by}"
            for email in sorted(away)
            if (standing := self._standing(self.account.contact_by_email(email))) is not None
            and standing.status == SUBSCRIBED
        ]

    def differences(self, stored: Stored) -> list[str]:
        found = []
        for target, export in sorted(stored.owners.items()):
            own = target_of(export.options)
            wanted = {pair.identity: wants[0] for pair, wants in stored.wanted.items() if pair.target == target}
            for email in sorted({*wanted, *(contact.email.lower() for contact in self.account.contacts.values())}):
                contact = self.account.contact_by_email(email)
                if email not in wanted:
                    problem = self._left_over(contact, target, export)
                elif target != own:
                    problem = "is wanted elsewhere"
                else:
                    # A call for another target may still come long after: both write the one contact's values.
                    others = [Pair(other, email) for other in self._targets if other != own]
                    moved = any(stored.record(pair) != Record() for pair in others)
                    problem = self._missing(contact, wanted[email], export, values=not moved)
                # Nobody tells the relay that a contact was deleted; the next thing it sends makes a new one.
                if problem and email not in self._deleted and stored.reason(Pair(target, email)) is None:
                    found.append(f"{email} {problem} at {target}: {stored.record(Pair(target, email))}")
        return found

    def seen(self, export: Export) -> None:
        self._targets.add(target_of(export.options))
        if not target_of(export.options).startswith("list/"):
            self._left_silently.add(f"list/{export.options.list_id}")
        ways = {target: leaving(target, export.options) for target in self._targets}
        self._left_silently |= {target for target, way in ways.items() if way is Leaving.NOTHING}

    def _missing(self, contact: Contact | None, want: Wanted, export: Export, *, values: bool) -> str | None:
        """Return how somebody wanted is not in as wanted; a subscription last changed by hand is theirs alone."""
        if contact is None:
            return "is not there"
        standing = self._standing(contact, int(export.options.list_id))
        by_hand = standing is not None and standing.by == "hand"
        if (standing is None or standing.status != SUBSCRIBED) and not by_hand:
            return f"is not subscribed ({standing})"
        if not self._is_marked(contact, want.pair.target):
            return "is not marked as in"
        held = {"first_name": contact.first_name, "fields.1": contact.fields.get(1), "fields.3": contact.fields.get(3)}
        for name, value in want.values.items() if values else ():
            if name in held and held[name] != value:
                return f"has {held[name]} as {name}, not {value}"
        return None

    def _left_over(self, contact: Contact | None, target: str, export: Export) -> str | None:
        """Return how somebody not wanted is still in."""
        if contact is None or not self.destination.tells_leaving(export) or target in self._left_silently:
            return None
        match leaving(target, export.options):
            case Leaving.UNSUBSCRIBE:
                standing = self._standing(contact, int(name_in(target)))
                is_in = standing is not None and standing.status == SUBSCRIBED and standing.by != "hand"
                return "is still subscribed" if is_in else None
            case Leaving.SET_FIELD | Leaving.REMOVE_TAG:
                return "is still marked as in" if self._is_marked(contact, target) else None
            case _:
                return None

    def _is_marked(self, contact: Contact, target: str) -> bool:
        match target.partition("/"):
            case "field", _, number:
                return contact.fields.get(int(number)) == "among-us"
            case "tag", _, tag:
                return self.account.tag_ids.get(tag) in contact.tags
            case _:
                return True

    def _standing(self, contact: Contact | None, number: int = LIST) -> ListStatus | None:
        return None if contact is None else contact.lists.get(number)


def _options(list_id: int | str, way: Mapping[str, Any]) -> ActiveCampaignOptions:
    return ActiveCampaignOptions.model_validate({**way, "list_id": str(list_id)})
