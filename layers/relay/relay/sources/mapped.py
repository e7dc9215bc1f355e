"""Any other JSON: the source's secret says with expressions (JMESPath) where a body has what.

| field | yields |
|---|---|
| `each` | the list of what is about one person each; without it the body, or each element of a body that is a list |
| `identities` | an object: an id, or a list of ids, by namespace |
| `attributes` | an object |
| `segment` | the segment's id, or a list of them; false for what is about no segment, which is ignored and counted |
| `in` | true or false (also as texts, 1 or 0): whether the person is in |
| `status` | instead of `in`: `realized` or `exited` |
| `at` | the time of it all; without it the receipt |
| `id` | the message's id, the same when it comes again |

`each` sees the body as `body` and its own keys, the others see one element and the whole body as `body`. A value of an
element that is a JSON object written as a text counts as that object: Salesforce writes its payloads either way.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from relay.domain.changes import Json, MembershipChange
from relay.domain.expressions import Unfit, compiled
from relay.domain.values import id_of
from relay.problem_details import InputError, pointer, wrong_shape
from relay.sources.adobe_http import STATUSES, realized_of
from relay.sources.dialect import Dialect, Source
from relay.sources.json_body import document, flaw_of
from relay.sources.reading import (
    UNFIT_ATTRIBUTE,
    UNFIT_IDENTITY,
    UNFIT_MEMBERSHIP,
    UNFIT_TIME,
    Incoming,
    Misshapen,
    Parts,
    Place,
    Reading,
    flag_of,
    read_each,
)
from relay.sources.recognising import sender_of


def read(raw: bytes, source: Source, received_at: datetime) -> Reading:
    """Read a body by the source's expressions; raises Refusal (400, 413 or 422)."""
    body = document(raw)
    reader = _Reader(source, body, received_at)
    return read_each(body, reader.elements(), reader.incoming, dialect=source.dialect)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one body."""

    source: Source
    body: Json
    received_at: datetime

    def elements(self) -> Iterator[tuple[Place, Any]]:
        """Yield what is about one person each; raises Refusal when `each` finds no list."""
        found, place = self.body, ""
        if "each" in self.source.mapping:
            place = "each"
            try:
                found = self._value("each", {"body": self.body, **(self.body if isinstance(self.body, dict) else {})})
            except Unfit:
                found = None
            if not isinstance(found, list | dict):
                error = InputError("the expression each finds nothing in the body", pointer([]))
                raise wrong_shape([error], sender_of(self.body, self.source.dialect))
        if not isinstance(found, list):
            yield (), found
        else:
            yield from (((place, index) if place else (index,), one) for index, one in enumerate(found))

    def incoming(self, place: Place, given: Any) -> Incoming:
        """Return what is read of one element; raises Misshapen."""
        if not isinstance(given, dict):
            raise Misshapen([InputError("must be an object", pointer(place))])
        element = {key: _opened(value) for key, value in given.items()}
        view = {"body": self.body, **element}
        parts = Parts(self.source.name, place, element)
        told = self._value_or_none(parts, UNFIT_TIME, "at", view)
        at = None if told is None else parts.moment(UNFIT_TIME, told, "at", zoned=False)
        is_timeless = told is not None and at is None
        number = self._value_or_none(parts, UNFIT_TIME, "id", view)
        segment = self._value_or_none(parts, UNFIT_MEMBERSHIP, "segment", view)
        is_about_none = segment is False
        return parts.incoming(
            identities=dict(self._identities(parts, view)),
            attributes=parts.attributes(self._object(parts, UNFIT_ATTRIBUTE, "attributes", view), "attributes"),
            memberships=[] if is_timeless or is_about_none else list(self._memberships(parts, segment, view, at)),
            snapshot=False,
            at=at,
            ignored_memberships=1 if is_about_none else 0,
            webhook_id=id_of(number),
        )

    def _identities(self, parts: Parts, view: Mapping[str, Json]) -> Iterator[tuple[str, Sequence[str]]]:
        for namespace, value in self._object(parts, UNFIT_IDENTITY, "identities", view).items():
            if value is None or not parts.namespace(namespace, "identities"):
                continue
            listed = value if isinstance(value, list) else [value]
            ids = parts.identities((("identities", namespace, index), one) for index, one in enumerate(listed))
            if ids:
                yield namespace, ids

    def _memberships(
        self, parts: Parts, segments: Json, view: Mapping[str, Json], at: datetime | None
    ) -> Iterator[MembershipChange]:
        if "segment" not in self.source.mapping:
            return
        listed = segments if isinstance(segments, list) else [segments]
        realized = self._realized(parts, view)
        if realized is None:
            return
        for one in listed:
            reference = parts.segment(one, "segment")
            if reference is not None:
                yield MembershipChange(reference, realized, self.received_at if at is None else at)

    def _realized(self, parts: Parts, view: Mapping[str, Json]) -> bool | None:
        field = "status" if "status" in self.source.mapping else "in"
        found = self._value_or_none(parts, UNFIT_MEMBERSHIP, field, view)
        if field == "in":
            realized, known = (found == 1 if found in (0, 1) else flag_of(found)), "true or false"
        else:
            realized, known = realized_of(found), f"one of {', '.join(STATUSES)}"
        if realized is None:
            parts.leave_out(UNFIT_MEMBERSHIP, f"must yield {known}", field)
        return realized

    def _object(self, parts: Parts, code: str, field: str, view: Mapping[str, Json]) -> Mapping[str, Json]:
        found = self._value_or_none(parts, code, field, view)
        if found is not None and not isinstance(found, dict):
            parts.leave_out_value(code, "must yield an object", field)
        return found if isinstance(found, dict) else {}

    def _value_or_none(self, parts: Parts, code: str, field: str, view: Mapping[str, Json]) -> Json:
        if field not in self.source.mapping:
            return None
        try:
            return self._value(field, view)
        except Unfit as unfit:
            parts.leave_out(code, str(unfit), field)
            return None

    def _value(self, field: str, view: Mapping[str, Json]) -> Json:
        return compiled(self.source.mapping[field]).value(view)


def _opened(value: Json) -> Json:
    """Return the object that a text is, else the value as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith("{"):
        return value
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return found if isinstance(found, dict) and flaw_of(found) is None else value


DIALECT: Final = Dialect(read)
