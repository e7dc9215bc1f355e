"""The user calls of Gainsight PX; ids are case sensitive, filters are not.

https://px-apidocs.gainsight.com (tag Users)
"""

from __future__ import annotations

import uuid

from flask import Flask, Response, request

from sandboxes.answers import body_object, empty_answer, json_answer
from sandboxes.gainsight_px.account import GainsightPxAccount
from sandboxes.gainsight_px.envelope import bad_request, refusal

_DEFAULT_PAGE, _LARGEST_PAGE = 25, 1000
_READ_ONLY = ("aptrinsicId", "id", "createDate", "lastModifiedDate", "lastSeenDate", "numberOfVisits", "globalId")


def attach_user_calls(app: Flask, account: GainsightPxAccount) -> None:
    """Add listing, creating, reading and updating of users."""

    @app.get("/v1/users")
    def users() -> Response:
        return _list(account)

    @app.post("/v1/users")
    def create_user() -> Response:
        user = body_object()
        identify_id = user.get("identifyId") if user is not None else None
        if user is None or not isinstance(identify_id, str) or not identify_id:
            return bad_request("identifyId is required")
        keys = user.get("propertyKeys")
        if not isinstance(keys, list) or not keys:
            return bad_request("At least one of propertyKeys is required")
        if identify_id in account.users:
            return bad_request("Bad request, possible duplicate")
        account.count_unfit(user.get("customAttributes"))
        stored = {key: value for key, value in user.items() if key not in _READ_ONLY}
        stored.update(aptrinsicId=str(uuid.uuid4()), createDate=int(account.clock.timestamp() * 1000))
        account.users[identify_id] = stored
        return json_answer(_describe(stored), 201)

    @app.get("/v1/users/<path:identify_id>")
    def one(identify_id: str) -> Response:
        user = account.users.get(identify_id)
        if user is None:
            text = f"User was not found for parameters {{id={identify_id}}}"
            return refusal(404, "NOT_FOUND", text)
        return json_answer(_describe(user))

    @app.put("/v1/users/update")
    def update_user() -> Response:
        given = body_object()
        if given is None:
            return bad_request("The body is no JSON object")
        user = account.users.get(str(given.get("identifyId", "")))
        if user is None:
            return refusal(404, "NOT_FOUND", "User not found")
        account.count_unfit(given.get("customAttributes"))
        _merge(user, given)
        return empty_answer(204)

    @app.delete("/v1/users/delete")
    def delete_user() -> Response:
        return _delete(account)


def _delete(account: GainsightPxAccount) -> Response:
    """Delete a user: in the sandbox for good, with its memberships."""
    given = body_object()
    identify_id = str((given or {}).get("identifyId", ""))
    if account.users.pop(identify_id, None) is None:
        return refusal(404, "NOT_FOUND", "User not found")
    for segment in account.segments.values():
        segment.members.discard(identify_id)
    return empty_answer(204)


def _describe(user: dict[str, object]) -> dict[str, object]:
    return {**user, "id": user["identifyId"]}


def _merge(user: dict[str, object], given: dict[str, object]) -> None:
    """Take over the given fields only: inferred from the vendor's own loader, which never sends whole users."""
    for key, value in given.items():
        if key in _READ_ONLY:
            continue
        before = user.get(key)
        if key == "customAttributes" and isinstance(value, dict) and isinstance(before, dict):
            user[key] = {**before, **value}
        else:
            user[key] = value


def _list(account: GainsightPxAccount) -> Response:
    size = request.args.get("pageSize", str(_DEFAULT_PAGE))
    if not size.isdigit() or not 0 < int(size) <= _LARGEST_PAGE:
        return bad_request(f"pageSize must be from 1 to {_LARGEST_PAGE}")
    start = request.args.get("scrollId", "0")
    if not start.isdigit():
        return bad_request("scrollId is unknown")
    clauses = [clause for text in request.args.getlist("filter") for clause in text.split(";")]
    # Of the filter grammar only equality, joined by AND, is offered; anything else is refused instead of ignored.
    if any("==" not in clause for clause in clauses) or len(request.args.getlist("filter")) > 1:
        return bad_request("Only filters of the form field==value;field==value are known here")
    found = [user for user in account.users.values() if all(_fits(user, clause) for clause in clauses)]
    end = int(start) + int(size)
    page = [_describe(user) for user in found[int(start) : end]]
    return json_answer({"users": page, "totalHits": len(found), "scrollId": str(end)})


def _fits(user: dict[str, object], clause: str) -> bool:
    name, _, wanted = clause.partition("==")
    holder: object = user
    for part in name.split("."):
        holder = holder.get(part) if isinstance(holder, dict) else None
    return holder is not None and str(holder).lower() == wanted.lower()
