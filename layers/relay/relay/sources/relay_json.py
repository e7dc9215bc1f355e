"""Audience Relay's own dialect, for scripts and platforms whose body can be shaped.

{"changes": [{
    "identities": {"crm_id": "42", "email": ["a@b.c"]},      text or list of texts; null or [] clears
    "attributes": {"first_name": "Ada"},                      any JSON; null clears
    "memberships": [{"segment": "vip", "status": "realized", "at": "2026-01-31T12:00:00Z", "name": "VIPs"}],
    "at": "2026-01-31T12:00:00Z",                             time of identities and attributes; default: receipt
    "snapshot": false                                         true: what is not named here is gone
}]}
All keys are optional; times need `Z` or an offset; `status` is `realized` or `exited`.
"""

from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, PlainValidator, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from relay.domain.changes import Json, MembershipChange
from relay.problem_details import InputError, pointer, too_large, wrong_shape
from relay.sources.json_body import document
from relay.sources.reading import MAX_PROFILES, Incoming, Reading, moment_of


def _moment(value: Any) -> datetime:
    try:
        return moment_of(value, zoned=True)
    except ValueError as error:
        raise PydanticCustomError("moment", str(error)) from None


def _values(value: Any) -> list[str] | None:
    listed = [value] if isinstance(value, str) else value
    if listed is None:
        return None
    if not isinstance(listed, list) or not all(isinstance(one, str) and one for one in listed):
        raise PydanticCustomError("identity", "must be a text that is not empty, or a list of such texts, or null")
    return list(dict.fromkeys(listed)) or None


Moment = Annotated[datetime, PlainValidator(_moment)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Membership(_Strict):
    segment: str = Field(min_length=1, max_length=256)
    status: Literal["realized", "exited"]
    at: Moment
    name: str | None = Field(default=None, max_length=512)


class _Change(_Strict):
    identities: dict[str, Annotated[list[str] | None, PlainValidator(_values)]] = Field(default_factory=dict)
    attributes: dict[str, Any] = Field(default_factory=dict)
    memberships: Annotated[list[_Membership], FailFast()] = Field(default_factory=list)
    at: Moment | None = None
    snapshot: bool = False


class _Body(_Strict):
    changes: Annotated[list[_Change], FailFast()]


def read(raw: bytes, *, source: str, namespaces: AbstractSet[str]) -> Reading:  # noqa: ARG001 - this dialect has none
    """Read a body of the shape above; raises Refusal (400, 413 or 422)."""
    value = document(raw)
    changes = value.get("changes") if isinstance(value, dict) else None
    if isinstance(changes, list) and len(changes) > MAX_PROFILES:
        raise too_large(f"A request holds at most {MAX_PROFILES} changes.")
    try:
        body = _Body.model_validate(value)
    except ValidationError as error:
        raise wrong_shape([_told(one) for one in error.errors(include_input=False, include_url=False)]) from None
    return Reading(
        [
            _incoming(source, index, change, told)
            for index, (change, told) in enumerate(zip(body.changes, value["changes"], strict=True))
        ]
    )


def _incoming(source: str, index: int, change: _Change, raw: dict[str, Json]) -> Incoming:
    return Incoming(
        raw=raw,
        place=("changes", index),
        snapshot=change.snapshot,
        identities=change.identities,
        attributes=change.attributes,
        memberships=[
            MembershipChange(f"{source}/{told.segment}", told.status == "realized", told.at, told.name)
            for told in change.memberships
        ],
        at=change.at,
    )


def _told(error: ErrorDetails) -> InputError:
    place = error["loc"]
    if error["type"] == "extra_forbidden":
        return InputError("holds a key that this dialect does not know", pointer(place[:-1]))
    detail = "is missing" if error["type"] == "missing" else error["msg"]
    return InputError(detail, pointer(place))
