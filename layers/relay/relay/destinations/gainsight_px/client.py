"""Calls to Gainsight PX's REST API: those that only look, and those that write. https://px-apidocs.gainsight.com."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from relay.destinations.contract import Account, Notes, Quota, Reply
from relay.destinations.error_table import Row, Table
from relay.destinations.gainsight_px import errors
from relay.destinations.gainsight_px.settings import GainsightPxConnection
from relay.destinations.gainsight_px.token import Tokens
from relay.domain.problems import ExportProblem, Problem, Transient

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


@contextmanager
def nothing_written() -> Iterator[None]:
    """Have every problem say that PX did not act on the steps: what is called here does not write them."""
    try:
        yield
    except Problem as problem:
        problem.taken = False
        raise


@dataclass(frozen=True, slots=True)
class ReadOnlyClient:
    """Calls with the key or token of one account that change nothing of any user.

    All raise ConnectionProblem and Transient as `Tokens.token`, `Caller` and `raise_for` do; whatever goes wrong,
    nothing was done. What a log-in may not see raises ExportProblem: that it may read is documented for keys only.
    """

    account: Account
    tokens: Tokens

    @property
    def logs_in(self) -> bool:
        """Whether calls are made with the token of a log-in, not with a key."""
        return self._settings.api_key is None

    def note(self, about: str, of: str = "") -> Note:
        """Return a note about the subscription: what one subscription says is not true of another."""
        key = f"px {about} {self._settings.region} {self._settings.client_id or ''}".rstrip()
        return Note(self.account.notes, f"{key} of {of}" if of else key)

    def subscription(self) -> Reply:
        """Return PX's description of the subscription."""
        return self._read("admin/subscription", errors.SUBSCRIPTION_TABLE)

    def user_attributes(self) -> Mapping[str, Mapping[str, Any]]:
        """Return all attributes of users by apiName: PX gives one list without pages. Raises Transient for no list."""
        listed = self._read("admin/model/user/attributes", errors.READ_TABLE).body
        # One that cannot be read may be one of ours: nobody is let go because it seems to be missing.
        if not isinstance(listed, list) or not all(map(_is_named, listed)):
            raise Transient("unexpected_answer", "Gainsight PX gave no list of attributes", taken=False)
        return {one["apiName"]: one for one in listed}

    def lists_user(self, identity: str) -> bool:
        """Return whether PX lists a user."""
        # Not by the path of one user: paths are logged.
        reply = self._read("users", errors.READ_TABLE, {"filter": f"identifyId=={identity}"})
        return identity in [user.get("identifyId") for user in objects_in(reply.body, "users")]

    def probe(self, update: Update) -> Reply:
        """Return what PX answers an update of nobody, whatever its status."""
        with nothing_written():
            return self._call(update.method, update.path, json=update.nobody)

    def require(self, reply: Reply, table: Table) -> Row | None:
        """Judge the answer to a call that changes nothing of any user, as `raise_for` does."""
        with nothing_written():
            return errors.judge(reply, table)

    def _read(self, path: str, table: Table, params: Mapping[str, str] | None = None) -> Reply:
        with nothing_written():
            reply = self._call("GET", path, params=params)
        if self.logs_in and reply.status in errors.REFUSALS:
            raise ExportProblem("may_not_read", errors.MAY_NOT_READ)
        self.require(reply, table)
        return reply

    def _call(self, method: str, path: str, *, params: Mapping[str, str] | None = None, json: Any = None) -> Reply:
        """Call `/v1/{path}`; a refused token is renewed once and the call repeated once."""
        account, settings = self.account, self._settings
        root = HOSTS[settings.region] if account.base_url is None else account.base_url.rstrip("/")

        def attempt(headers: Mapping[str, str]) -> Reply:
            return account.call(method, f"{root}/v1/{path}", quota=REST, headers=headers, params=params, json=json)

        if settings.api_key is not None:
            return attempt({"X-APTRINSIC-API-KEY": settings.api_key.get_secret_value()})
        token = self._token()
        reply = attempt({"Authorization": f"Bearer {token}"})
        return reply if reply.status != 401 else attempt({"Authorization": f"Bearer {self._token(rejected=token)}"})

    def _token(self, rejected: str | None = None) -> str:
        with nothing_written():
            return self.tokens.token(self.account, rejected=rejected)

    @property
    def _settings(self) -> GainsightPxConnection:
        settings: GainsightPxConnection = self.account.connection.settings
        return settings


class Client(ReadOnlyClient):
    """Calls that write, too. Each returns the answer whatever its status."""

    __slots__ = ()

    def update(self, update: Update, body: Mapping[str, Any]) -> Reply:
        """Write memberships, or one user."""
        return self._call(update.method, update.path, json=body)

    def create_user(self, body: Mapping[str, Any]) -> Reply:
        """Create a user."""
        return self._call("POST", "users", json=body)

    def make_segment(self, texts: Mapping[str, str]) -> Reply:
        """Make a segment, if it is not there: that changes nobody's membership."""
        with nothing_written():
            return self._call("POST", "external_segment/metadata", params={"failIfExists": "false"}, json=texts)

    def rename_segment(self, texts: Mapping[str, str]) -> Reply:
        """Give PX the texts of a segment: that changes nobody's membership."""
        with nothing_written():
            return self._call("PUT", "external_segment/metadata", json=texts)


def _is_named(attribute: Any) -> bool:
    return isinstance(attribute, Mapping) and isinstance(attribute.get("apiName"), str)


def objects_in(holder: Any, name: str) -> list[Mapping[str, Any]]:
    """Return the objects of a list in an answer; none where it is no list."""
    value = holder.get(name) if isinstance(holder, Mapping) else None
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
