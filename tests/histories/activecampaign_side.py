"""ActiveCampaign in a history: four ways out, imports that end in every way, and people who act by hand."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from flask import Flask

from local.sandboxes.activecampaign import create_app
from local.sandboxes.activecampaign_account import ActiveCampaignAccount, Contact, ListStatus
from local.sandboxes.activecampaign_settings import ActiveCampaignConfig
from relay.destinations.activecampaign import ActiveCampaign
from relay.destinations.contract import Destination
from relay.domain.exports import Export
from relay.domain.problems import Rejection
from tests.fakes.virtual_clock import VirtualClock
from tests.histories import activecampaign_trouble
from tests.histories.people import Person, Wanted
from tests.histories.side import SEGMENTS, Side, Stored

LIST = 7
OTHER_LIST = 8
"""Not ours: people come to it and leave it by hand."""
MARK = 2
"""The custom field that marks who is in, with `set_field`."""
SUBSCRIBED, UNSUBSCRIBED = 1, 2
WAYS: tuple[dict[str, Any], ...] = (
    {"on_exit": "keep"},
    {"on_exit": "unsubscribe"},
    {"on_exit": "unsubscribe", "resubscribe": False},
    {"on_exit": "set_field", "exit_field": str(MARK), "value_in": "among-us", "value_out": "gone"},
    {"on_exit": "remove_tag", "tag": "Member"},
)


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

    def _destination(self) -> Destination:
        return ActiveCampaign()

    def _app(self) -> Flask:
        config = ActiveCampaignConfig(
            api_key="s3cret-key",
            lists={LIST: "News", OTHER_LIST: "Offers"},
            fields={1: "text", MARK: "text"},
            processing_seconds=self.chance.choice([2.0, 6.0, 200.0]),
            success_lists=self.chance.choice(["created", "created_or_updated"]),
            excluded_at=self.chance.choice(["both", "queue", "import"]),
            removed_in_import=self.chance.choice(["subscribes", "refuses"]),
            ids_filter=self.chance.random() < 0.7,
        )
        return create_app(config, clock=self.clock.timestamp, sleep=self.clock.advance)

    def _export(self) -> Export:
        options = ActiveCampaign.options_model.model_validate({"list_id": str(LIST), **self.chance.choice(WAYS)})
        mapping = {"email": "attributes.email", "first_name": "attributes.name", "fields.1": "attributes.colour"}
        stream = self.chance.random() < 0.5
        return Export("acme", "everyone", self.name, True, stream, SEGMENTS, mapping, options, 1)

    def _secret(self) -> dict[str, str]:
        return {"api_host": "acme.api-us1.com", "api_key": "s3cret-key"}

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
        if roll < 0.2:
            outcome = activecampaign_trouble.import_outcome(self.chance, self._email_of(people))
            self.post("import_outcomes", [outcome])
            is_lost = "seconds" in outcome and self.chance.random() < 0.9
            if is_lost:
                self.post("faults", [activecampaign_trouble.LOST])
            return f"the next import ends {outcome}" + " and is not answered" * is_lost
        if roll < 0.27:
            word = self.chance.choice(["excluded", "bounced"])
            self.post("contacts", {"email": email, word: True})
            return f"{email} is {word}"
        if roll < 0.31 and self.hand.get(email) != UNSUBSCRIBED:
            self._deleted.add(email)
            self.had_enough.discard(email)
            return f"{email} is deleted" if self.account.delete(email) else None
        standing = self._standing(contact)
        if roll < 0.35:
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

    def _email_of(self, people: Sequence[Person]) -> str:
        return str(self.chance.choice(people).attributes["email"] or "x@example.com").strip().lower()

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
        claims = {want.identity: (key, wants) for key, wants in stored.wanted.items() for want in wants[:1]}
        told = {t.identity: key for d in stored.deliveries.values() for key, t in d.told.items()}
        for email in sorted({*claims, *(contact.email.lower() for contact in self.account.contacts.values())}):
            contact = self.account.contact_by_email(email)
            if email in claims:
                key, wants = claims[email]
                problem = self._missing(contact, wants[0], stored, key)
                reason = stored.reason(key, [wants[0].profile])
            else:
                problem = self._left_over(contact)
                key = told.get(email, "")
                reason = stored.reason(key, sorted(stored.deliveries))
            # Nobody tells the relay that a contact was deleted; the next thing it tells makes a new one.
            if problem is not None and reason is None and email not in self._deleted:
                found.append(f"{email} {problem}")
        return found

    def _missing(self, contact: Contact | None, want: Wanted, stored: Stored, key: str) -> str | None:
        """Return how somebody wanted is not in as wanted; a subscription last changed by hand is theirs alone."""
        if contact is None:
            return "is not there"
        standing = self._standing(contact)
        by_hand = standing is not None and standing.by == "hand"
        if (standing is None or standing.status != SUBSCRIBED) and not by_hand:
            return f"is not subscribed ({standing})"
        if not self._is_marked_in(contact):
            return "is not marked as in"
        held = {"first_name": contact.first_name, "fields.1": contact.fields.get(1)}
        for target, value in want.values.items():
            if target in held and held[target] != value:
                return f"has {held[target]} as {target}, not {value}"
        return None

    def _left_over(self, contact: Contact | None) -> str | None:
        """Return how somebody not wanted is still in."""
        standing, way = self._standing(contact), self.export.options.on_exit
        if contact is None or way == "keep":
            return None
        if way == "unsubscribe":
            is_in = standing is not None and standing.status == SUBSCRIBED and standing.by != "hand"
            return "is still subscribed" if is_in else None
        return "is still marked as in" if self._is_marked_in(contact) else None

    def _is_marked_in(self, contact: Contact) -> bool:
        match self.export.options.on_exit:
            case "set_field":
                return contact.fields.get(MARK) == "among-us"
            case "remove_tag":
                return self.account.tag_ids.get("member") in contact.tags
            case _:
                return True

    def _standing(self, contact: Contact | None) -> ListStatus | None:
        return None if contact is None else contact.lists.get(LIST)
