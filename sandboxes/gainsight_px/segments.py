"""The external-segment calls of Gainsight PX: metadata and membership.

https://px-apidocs.gainsight.com (tag ExternalSegments). The contract gives shapes only; each choice below that it does
not cover is the stricter one, so that a client that works here asks nothing unusual of the vendor.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flask import Flask, Response, request

from sandboxes.answers import body_object, empty_answer, json_answer
from sandboxes.gainsight_px.account import GainsightPxAccount, Segment
from sandboxes.gainsight_px.envelope import bad_request, refusal

_TEXT_KEYS = ("id", "externalId", "name", "description")


@dataclass(frozen=True)
class _Action:
    segment: Segment
    identities: list[str]
    at: datetime


class _BadRequestError(Exception):
    """The membership request is refused as a whole; the text says why."""


class _NoSuchSegmentError(Exception):
    """A membership request names a segment that is not there."""


def attach_segment_calls(app: Flask, account: GainsightPxAccount) -> None:
    """Add metadata (create, update) and update_membership."""

    @app.post("/v1/external_segment/metadata")
    def create_segment() -> Response:
        return _create(account)

    @app.put("/v1/external_segment/metadata")
    def update_segment() -> Response:
        return _update(account)

    @app.post("/v1/external_segment/update_membership")
    def update_membership() -> Response:
        try:
            return _update_membership(account, body_object())
        except _NoSuchSegmentError:
            text = "External segment was not found"
            return refusal(404, "NOT_FOUND", text) if account.config.deleted_segment == "404" else bad_request(text)
        except _BadRequestError as error:
            return bad_request(str(error))


def _metadata() -> dict[str, str] | None:
    body = body_object()
    if body is None:
        return None
    given = {key: body[key] for key in _TEXT_KEYS if body.get(key) is not None}
    texts = {key: value for key, value in given.items() if isinstance(value, str)}
    return texts if len(texts) == len(given) else None


def _create(account: GainsightPxAccount) -> Response:
    fail_if_exists = request.args.get("failIfExists", "false").lower()
    if fail_if_exists not in ("true", "false"):
        return bad_request("failIfExists must be true or false")
    given = _metadata()
    # No field is documented as required; a segment without a name could not be shown on the Segments screen.
    if given is None or not given.get("name"):
        return bad_request("An external segment is an object of texts and needs a name")
    existing = account.segment_by_external_id(given.get("externalId", ""))
    if existing is not None:
        if fail_if_exists == "true":
            return bad_request("Bad request, possible duplicate")
        # Creating does not rename: a client that wants its new name shown has to update.
        return json_answer(existing.describe())
    segment = account.create_segment(given.get("externalId", ""), given["name"], given.get("description", ""))
    return json_answer(segment.describe())


def _update(account: GainsightPxAccount) -> Response:
    given = _metadata()
    if given is None or not (given.get("id") or given.get("externalId")):
        return bad_request("An external segment is an object of texts and needs an id or externalId")
    if given.get("id"):
        segment = account.segments.get(given["id"])
    else:
        segment = account.segment_by_external_id(given["externalId"])
    if segment is None:
        return refusal(404, "NOT_FOUND", "External segment was not found")
    if account.config.renames == "refused" and given.get("name", segment.name) != segment.name:
        return bad_request("The name cannot be changed")
    other = account.segment_by_external_id(given.get("externalId", ""))
    if other is not None and other is not segment:
        return bad_request("Bad request, possible duplicate")
    segment.external_id = given.get("externalId", segment.external_id)
    segment.name = given.get("name") or segment.name
    segment.description = given.get("description", segment.description)
    return json_answer(segment.describe())


def _update_membership(account: GainsightPxAccount, body: dict[str, object] | None) -> Response:
    if body is None:
        raise _BadRequestError("The body is no JSON object")
    identity_type = body.get("identityType", "IDENTIFY_ID")
    if identity_type != "IDENTIFY_ID" and not (identity_type == "GLOBAL_ID" and account.config.workspaces):
        raise _BadRequestError("identityType must be IDENTIFY_ID, or GLOBAL_ID in a subscription with workspaces")
    add, remove = _read_actions(account, body, "add"), _read_actions(account, body, "remove")
    shown = [identity for action in (*add, *remove) for identity in action.identities]
    limit = account.config.max_identities
    if limit is not None and len(shown) > limit:
        return refusal(
            account.config.oversize_status, "PAYLOAD_TOO_LARGE", f"At most {limit} identities fit in a request"
        )
    added, removed = _pairs(add), _pairs(remove)
    if not added.isdisjoint(removed):
        raise _BadRequestError("An identity is in add and in remove for one segment")
    if account.config.unknown_users == "reject" and not set(shown) <= account.known(identity_type):
        # The identity is not repeated in the message, as in most of the vendor's own messages of this status.
        raise _BadRequestError("An identity belongs to no user")
    for actions, member in ((add, True), (remove, False)):
        for action in actions:
            account.tell(action.segment, action.identities, action.at, member=member)
    return empty_answer(200)


def _pairs(actions: list[_Action]) -> set[tuple[str, str]]:
    return {(action.segment.segment_id, identity) for action in actions for identity in action.identities}


def _read_actions(account: GainsightPxAccount, body: dict[str, object], direction: str) -> list[_Action]:
    given = body.get(direction)
    if not isinstance(given, list):
        raise _BadRequestError(f"{direction} is required and must be a list")
    return [_read_action(account, action, direction) for action in given]


def _read_action(account: GainsightPxAccount, action: object, direction: str) -> _Action:
    if not isinstance(action, dict):
        raise _BadRequestError(f"{direction} must be a list of objects")
    reference, identities = action.get("segmentId"), action.get("identities")
    if not isinstance(reference, str) or not reference:
        raise _BadRequestError("segmentId is required")
    if not isinstance(identities, list) or not identities:
        raise _BadRequestError("identities is required and must not be empty")
    if not all(isinstance(identity, str) and identity for identity in identities):
        raise _BadRequestError("identities must be texts")
    at = _read_time(action.get("lastQualificationTime"))
    segment = account.segment_for_membership(reference)
    if segment is None:
        raise _NoSuchSegmentError
    return _Action(segment, identities, at)


def _read_time(value: object) -> datetime:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise _BadRequestError("lastQualificationTime must be an ISO 8601 time with an offset")
    return at
