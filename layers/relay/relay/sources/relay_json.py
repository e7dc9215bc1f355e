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
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, PlainValidator, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from relay.domain.changes import MembershipChange
from relay.problem_details import InputError, pointer, wrong_shape
from relay.sources.json_body import document
from relay.sources.reading import Incoming, Misshapen, Place, Reading, moment_of, read_each

_UNKNOWN_KEY = "holds a key that this dialect does not know"
_MISSING = "is missing"


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


def read(raw: bytes, *, source: str, namespaces: AbstractSet[str]) -> Reading:  # noqa: ARG001 - this dialect has none
    """Read a body of the shape above; raises Refusal (400, 413 or 422).

    A change of a wrong shape is only told beside those that can be read.
    """
    places = ((("changes", index), told) for index, told in enumerate(_changes(document(raw))))
    return read_each(places, partial(_incoming, source))


def _changes(body: Any) -> list[Any]:
    if not isinstance(body, dict):
        raise wrong_shape([InputError("must be an object", pointer([]))])
    if body.keys() - {"changes"}:
        raise wrong_shape([InputError(_UNKNOWN_KEY, pointer([]))])
    if "changes" not in body:
        raise wrong_shape([InputError(_MISSING, pointer(["changes"]))])
    changes = body["changes"]
    if not isinstance(changes, list):
        raise wrong_shape([InputError("must be a list", pointer(["changes"]))])
    return changes


def _incoming(source: str, place: Place, told: Any) -> Incoming:
    try:
        change = _Change.model_validate(told)
    except ValidationError as error:
        errors = error.errors(include_input=False, include_url=False)
        raise Misshapen([_told(place, one) for one in errors]) from None
    return Incoming(
        raw=told,
        place=place,
        snapshot=change.snapshot,
        identities=change.identities,
        attributes=change.attributes,
        memberships=[
            MembershipChange(f"{source}/{one.segment}", one.status == "realized", one.at, one.name)
            for one in change.memberships
        ],
        at=change.at,
    )


def _told(place: Place, error: ErrorDetails) -> InputError:
    inner = (*place, *error["loc"])
    if error["type"] == "extra_forbidden":
        return InputError(_UNKNOWN_KEY, pointer(inner[:-1]))
    return InputError(_MISSING if error["type"] == "missing" else error["msg"], pointer(inner))
