"""Single contacts: contact/sync, contactLists, and the traces that our own unsubscribing leaves on a list entry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.live.activecampaign.smoke import ALONE, Smoke
from local.live.live_account import Exchange, last
from local.live.replies import at, differing, in_words, names
from local.live.report import Fits, yes_or_no
from relay.destinations.activecampaign.client import ListStatus

_TAKEN = (200, 201, 202)


def one_contact(smoke: Smoke) -> None:
    """Make a contact by single calls, unsubscribe it, and take it back."""
    number = ALONE[0]
    export = smoke.export(on_exit="unsubscribe")
    with smoke.live.witness.watch() as joining:
        answer = smoke.destination.send(smoke.account, export, [smoke.step(export, number)])
    _sync_line(smoke, "contact/sync of a new contact", "201", last(joining, "POST", "contact/sync"))
    contact = smoke.known(number)
    with smoke.live.witness.watch() as again:
        smoke.client.sync({"email": smoke.address(number), "firstName": f"Second {smoke.mark}"})
    _sync_line(
        smoke, "contact/sync of a known contact", "201 (docs), 200 (others)", last(again, "POST", "contact/sync")
    )
    written = last(joining, "POST", "contactLists").reply
    smoke.report.line(
        "subscribing by contactLists",
        "200 {contacts: [...], contactList: {id, contact, list, status, ...}}",
        f"{in_words(written)}; contactList with {names(at(written.body, 'contactList'))}",
        yes_or_no(not answer.refused),
    )
    with smoke.live.witness.watch() as before:
        smoke.client.list_entry(contact, smoke.list_id)
    with smoke.live.witness.watch() as after:
        left = smoke.destination.send(smoke.account, export, [smoke.step(export, number, joins=False)])
    _unsubscribed_line(smoke, _entry(smoke, before), _entry(smoke, after))
    _way_back_line(smoke, contact, left.evidence.get(0))


def fingerprints(smoke: Smoke) -> None:
    """Unsubscribe a contact and see whether its list entry reads the same afterwards, and after a change of name."""
    number = ALONE[1]
    export = smoke.export(on_exit="unsubscribe")
    smoke.destination.send(smoke.account, export, [smoke.step(export, number)])
    contact = smoke.known(number)
    with smoke.live.witness.watch() as seen:
        written = smoke.client.set_list_status(contact, smoke.list_id, ListStatus.UNSUBSCRIBED)
        shown: Mapping[str, Any] = at(last(seen, "POST", "contactLists").reply.body, "contactList") or {}
        read = smoke.client.list_entry(contact, smoke.list_id)
    entry = _entry(smoke, seen)
    same = written is not None and read is not None and written.fingerprint == read.fingerprint
    smoke.report.line(
        "the list entry read again, against what the writing call showed",
        "not documented (we expect the same but for the spelling of numbers and nothings)",
        "the same fingerprint" if same else f"another fingerprint; differing: {_listed(differing(shown, entry))}",
        yes_or_no(same),
    )
    with smoke.live.witness.watch() as seen:
        later = smoke.client.list_entry(contact, smoke.list_id)
        smoke.client.sync({"email": smoke.address(number), "firstName": f"Renamed {smoke.mark}"})
        renamed = smoke.client.list_entry(contact, smoke.list_id)
    stands = read is not None and later is not None and later.fingerprint == read.fingerprint
    unmoved = later is not None and renamed is not None and renamed.fingerprint == later.fingerprint
    smoke.report.line(
        "the list entry after a change of the contact's name",
        "not documented (we expect the same fingerprint)",
        f"{'the same' if stands else 'another'} fingerprint when only read again, "
        f"{'the same' if unmoved else 'another'} after the change"
        + ("" if unmoved and stands else f"; differing: {_listed(differing(entry, _entry(smoke, seen)))}"),
        yes_or_no(stands and unmoved),
    )


def field_round_trip(smoke: Smoke) -> None:
    """Mark a contact as a member by a custom field, and as one who has left."""
    options = {"exit_field": smoke.field_id, "value_in": f"in {smoke.mark}", "value_out": f"out {smoke.mark}"}
    export = smoke.export(on_exit="set_field", **options)
    target = f"fields.{smoke.field_id}"
    number = 11
    smoke.destination.send(smoke.account, export, [smoke.step(export, number)])
    contact = smoke.known(number)
    inside = smoke.client.values(contact).get(target)
    smoke.destination.send(smoke.account, export, [smoke.step(export, number, joins=False)])
    outside = smoke.client.values(contact).get(target)
    as_wanted = (inside == options["value_in"], outside == options["value_out"])
    smoke.report.line(
        "set_field, in and out again",
        "contact/sync writes fieldValues {field, value}; contacts/{id} shows them",
        f"value while in {'as sent' if as_wanted[0] else 'another'}, afterwards "
        f"{'as sent' if as_wanted[1] else 'another'}",
        yes_or_no(all(as_wanted)),
    )


def tag_round_trip(smoke: Smoke) -> None:
    """Put a new tag on a contact and take it off."""
    export = smoke.export(on_exit="remove_tag", tag=smoke.tag)
    number = 12
    contact = smoke.known(number)
    with smoke.live.witness.watch() as joining:
        smoke.destination.send(smoke.account, export, [smoke.step(export, number)])
    tag = smoke.client.tag_id(smoke.tag)
    on = tag in smoke.client.tags_of(contact)
    with smoke.live.witness.watch() as leaving:
        smoke.destination.send(smoke.account, export, [smoke.step(export, number, joins=False)])
    off = tag not in smoke.client.tags_of(contact)
    removed = next((exchange.reply for exchange in leaving if exchange.method == "DELETE"), None)
    smoke.report.line(
        "a tag, put on and taken off",
        "POST tags 201, POST contactTags 201, DELETE contactTags/{association} 200",
        f"{last(joining, 'POST', '/tags').reply.status}, {last(joining, 'POST', '/contactTags').reply.status}, "
        f"{'no DELETE' if removed is None else removed.status}; the contact "
        f"{'had it' if on else 'did not have it'}, then {'did not' if off else 'still did'}",
        yes_or_no(tag is not None and on and off),
    )


def _sync_line(smoke: Smoke, what: str, docs: str, sync: Exchange) -> None:
    has_id = at(sync.reply.body, "contact", "id") is not None
    smoke.report.line(
        what,
        f"{docs}, with contact.id",
        f"{in_words(sync.reply)}; contact.id {'is there' if has_id else 'is missing'}",
        yes_or_no(sync.reply.status in _TAKEN and has_id),
    )


def _unsubscribed_line(smoke: Smoke, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    came, went = sorted(set(after) - set(before)), sorted(set(before) - set(after))
    changed = differing(before, after)
    smoke.report.line(
        "the list entry before and after our unsubscribing",
        "the keys id, contact, list, status, sdate, unsubreason, sourceid, ...",
        f"keys before: {names(before)}; came: {_listed(came)}; went: {_listed(went)}; "
        f"differing: {_listed(changed)}; status {before.get('status')}, then {after.get('status')}",
        yes_or_no((str(before.get("status")), str(after.get("status"))) == ("1", "2")),
    )


def _way_back_line(smoke: Smoke, contact: str, evidence: str | None) -> None:
    export = smoke.export(on_exit="unsubscribe")
    with smoke.live.witness.watch() as seen:
        answer = smoke.destination.send(smoke.account, export, [smoke.step(export, ALONE[0], evidence=evidence)])
        read = smoke.client.list_entry(contact, smoke.list_id)
    status = None if read is None else read.status
    if answer.refused:
        seen_text, fits = f"refused by the relay: {answer.refused[0].code}", Fits.NO
    else:
        reply = last(seen, "POST", "contactLists").reply
        seen_text = f"{reply.status}; read again: status {status}, sourceid {_entry(smoke, seen).get('sourceid')}"
        fits = yes_or_no(status is ListStatus.SUBSCRIBED)
    smoke.report.line(
        "subscribing again whom we unsubscribed",
        "contactLists with status 1 and sourceid 4 re-subscribes",
        seen_text,
        fits,
    )


def _entry(smoke: Smoke, exchanges: list[Exchange]) -> Mapping[str, Any]:
    """Return the list entry as the last reading call showed it."""
    listed = at(last(exchanges, "GET", "contactLists").reply.body, "contactLists")
    return next((entry for entry in listed or () if str(at(entry, "list")) == smoke.list_id), {})


def _listed(keys: list[str]) -> str:
    return ", ".join(keys) or "none"
