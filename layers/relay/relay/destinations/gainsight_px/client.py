"""Calls to Gainsight PX's REST API: those that only look, and those that write. https://px-apidocs.gainsight.com."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from relay.destinations.api import ReadRefused, Success, count_of, records
from relay.destinations.contract import Notes, Quota, Reply
from relay.destinations.error_table import OtherShape, Refused, Table, result_of
from relay.destinations.gainsight_px import errors
from relay.destinations.gainsight_px.settings import PxAccount
from relay.destinations.gainsight_px.token import Tokens
from relay.destinations.outcomes import nothing_done
from relay.domain.problems import ConnectionProblem, ExportProblem

Shown = TypeVar("Shown")

# "around 200 requests per second and 1 Million requests per day", for the whole subscription: a tenth of the one and a
# twentieth of the other are left to everybody else who calls it.
REST = Quota("rest", 180, timedelta(seconds=1), a_day=950_000)

HOSTS = {
    "us": "https://api.aptrinsic.com",
    "eu": "https://api-eu.aptrinsic.com",
    "us2": "https://api-us2.aptrinsic.com",
}
"""By region; a region that is not here is refused by the settings."""


@dataclass(frozen=True, slots=True)
class Update:
    """A kind of call that writes who is in what.

    `nobody` is a body that names nobody and changes nothing. Whether PX takes or refuses it is undocumented and does
    not matter: both show that it answers this kind of call.
    """

    name: str
    method: str
    path: str
    nobody: Mapping[str, Any]
    table: Table


NOBODY = {"identityType": "IDENTIFY_ID", "add": [], "remove": []}
MEMBERSHIPS = Update("segments", "POST", "external_segment/update_membership", NOBODY, errors.MEMBERSHIP_TABLE)
USERS = Update("users", "PUT", "users/update", {}, errors.USER_TABLE)
"""With the id in the body, because ids may hold what a path may not."""


@dataclass(frozen=True, slots=True)
class Note:
    """A small fact about one subscription that all processes share."""

    _notes: Notes
    _key: str

    def read(self) -> str | None:
        """Return its text; None when there is none."""
        return self._notes.get(self._key)

    def replace(self, former: str | None, text: str) -> str:
        """Keep a text if the note still is the former one; return what is kept now."""
        return text if text == former else self._notes.keep(self._key, text, replaces=former)

    def write(self, text: str) -> None:
        """Keep a text. Of two at the same time one is lost."""
        self.replace(self.read(), text)


@dataclass(frozen=True, slots=True)
class ReadOnlyClient:
    """Calls with the key or token of one account that change nothing of any user.

    All raise ConnectionProblem and Transient as `Tokens.token`, `Caller` and `result_of` do; whatever goes wrong,
    nothing was done. What a log-in may not see raises ExportProblem: that it may read is documented for keys only.
    """

    account: PxAccount
    tokens: Tokens

    def note(self, about: str, of: str = "") -> Note:
        """Return a note about the subscription: what one subscription says is not true of another."""
        settings = self.account.connection.settings
        key = f"px {about} {settings.region} {settings.client_id or ''}".rstrip()
        return Note(self.account.notes, f"{key} of {of}" if of else key)

    def product_keys(self) -> list[str]:
        """Return the product keys of the subscription, sorted. It shows that a key is good, whatever the keys."""
        return self._read("admin/subscription", _product_keys)

    def user_attributes(self) -> Mapping[str, Mapping[str, Any]]:
        """Return all attributes of users by apiName: PX gives one list without pages."""
        return self._read("admin/model/user/attributes", _attributes)

    def lists_user(self, identity: str) -> bool:
        """Return whether PX lists a user; one that it refuses to look for is on no list."""
        try:
            # Not by the path of one user: paths are logged.
            return identity in self._read("users", _user_ids, {"filter": f"identifyId=={identity}"})
        except ReadRefused:
            return False

    def count_users(self, condition: str) -> int:
        """Return how many users fulfil a condition, in the words of PX's filters."""
        return self._read("users", _total_hits, {"filter": condition, "pageSize": "1"})

    def probe(self, update: Update) -> Reply:
        """Return what PX answers an update of nobody, whatever its status."""
        with nothing_done():
            return self._call(update.method, update.path, json=update.nobody)

    def require_answered(self, update: Update, reply: Reply | None = None) -> None:
        """Raise unless PX took an update of nobody, or refused its content: that is an answer as well."""
        reply = self.probe(update) if reply is None else reply
        with nothing_done(), suppress(Refused):
            errors.judge(reply, update.table)

    def _read(self, path: str, success: Success[Shown], params: Mapping[str, str] | None = None) -> Shown:
        with nothing_done():
            reply = self._call("GET", path, params=params)
            if self.account.connection.settings.api_key is None and reply.status in errors.REFUSALS:
                raise ExportProblem("may_not_read", errors.MAY_NOT_READ)
            try:
                return result_of(reply, errors.READ_TABLE, success, about=errors.status_word)
            except Refused:
                raise ReadRefused("read_refused", f"refuses to show it (HTTP {reply.status})") from None

    def _call(self, method: str, path: str, *, params: Mapping[str, str] | None = None, json: Any = None) -> Reply:
        """Call `/v1/{path}`; a refused token is renewed once and the call repeated once."""
        account, settings = self.account, self.account.connection.settings
        root = HOSTS[settings.region] if account.base_url is None else account.base_url.rstrip("/")

        def attempt(headers: Mapping[str, str]) -> Reply:
            return account.call(method, f"{root}/v1/{path}", quota=REST, headers=headers, params=params, json=json)

        if settings.api_key is not None:
            return attempt({"X-APTRINSIC-API-KEY": settings.api_key.get_secret_value()})
        token = self.tokens.token(account)
        reply = attempt({"Authorization": f"Bearer {token}"})
        if reply.status != 401:
            return reply
        return attempt({"Authorization": f"Bearer {self.tokens.token(account, rejected=token)}"})


class Client(ReadOnlyClient):
    """Calls that write, too. Each returns the answer whatever its status."""

    __slots__ = ()

    def update(self, update: Update, body: Mapping[str, Any]) -> Reply:
        """Write memberships, or one user."""
        return self._call(update.method, update.path, json=body)

    def create_user(self, body: Mapping[str, Any]) -> Reply:
        """Create a user."""
        return self._call("POST", "users", json=body)

    def delete_user(self, identity: str) -> Reply:
        """Delete a user for good, where PX goes by that; else it can come back for 7 days.

        With the id in the body: paths are logged. https://px-apidocs.gainsight.com (tag Users)
        """
        return self._call("DELETE", "users/delete", params={"hardDelete": "true"}, json={"identifyId": identity})

    def make_segment(self, texts: Mapping[str, str]) -> Reply:
        """Make a segment, if it is not there: that changes nobody's membership."""
        with nothing_done():
            return self._call("POST", "external_segment/metadata", params={"failIfExists": "false"}, json=texts)

    def rename_segment(self, texts: Mapping[str, str]) -> Reply:
        """Give PX the texts of a segment: that changes nobody's membership."""
        with nothing_done():
            return self._call("PUT", "external_segment/metadata", json=texts)


def _product_keys(reply: Reply) -> list[str]:
    # SubscriptionDetail has both.
    if not isinstance(reply.body, Mapping) or not reply.body.keys() & {"id", "products"}:
        what = "what should be Gainsight PX does not describe the subscription: check region"
        raise ConnectionProblem("unexpected_answer", what)
    products = _list(reply.body, "products")
    keys = {errors.field(key, "productKey") for product in products for key in _list(product, "productKeys")}
    return sorted(key for key in keys if isinstance(key, str) and key)


def _list(holder: Any, name: str) -> list[Any]:
    value = errors.field(holder, name)
    return value if isinstance(value, list) else []


def _attributes(reply: Reply) -> Mapping[str, Mapping[str, Any]]:
    return {one["apiName"]: one for one in records({"attributes": reply.body}, "attributes", apiName=str)}


def _total_hits(reply: Reply) -> int:
    found = count_of(errors.field(reply.body, "totalHits"))
    if found is None:
        raise OtherShape("totalHits")
    return found


def _user_ids(reply: Reply) -> list[str]:
    # Whether a page of nobody has an empty list, null or none is not documented.
    if errors.field(reply.body, "totalHits") == 0 and errors.field(reply.body, "users") is None:
        return []
    return [one["identifyId"] for one in records(reply.body, "users", identifyId=str)]
