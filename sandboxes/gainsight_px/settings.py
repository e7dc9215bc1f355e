"""Settings of the Gainsight PX sandbox, at the start and changed while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sandboxes.changed_settings import (
    Reader,
    flag,
    number,
    one_of,
    optional_number,
    seconds,
    text,
    with_changes,
)


@dataclass(frozen=True)
class GainsightPxConfig:
    """A subscription as it is at the start.

    `token_lifetime`: seconds of wall time, because clients are shown it as `expires_in`.
    `feature`: external segments are switched on by the vendor's support; what an account without them gets is not
    documented, so `403` and `404` (both JSON) and `html` (a 403 page of the front door) can be chosen.
    `segment_ref`: whether `update_membership` knows a segment by `id`, by `external_id` or by `either`: undocumented.
    `unknown_users`: whether identities that are no PX users are taken (`accept`) or refuse the whole request
    (`reject`): undocumented. `max_identities` per request, None for no limit: undocumented too.
    `deleted_segment`: how a membership of a segment that is not there is refused, 400 or 404: undocumented.
    `renames`: whether changing a segment's texts is refused (`refused`): undocumented.
    `attributes`: user attributes, apiName to a type (STRING, DATE_TIME, BOOLEAN, NUMBER), which a state (ENABLED,
    DISABLED, DELETED) and an origin (CUSTOM, DEFAULT) may follow after blanks.
    `workspaces`: whether the subscription has workspaces, so that memberships may be sent by GLOBAL_ID, too.
    `permission`: of the key or log-in, `write` or `read` alone; how the latter is refused is documented as 401 only.
    """

    username: str = "sandbox@example.com"
    password: str = "sandbox-password"
    client_id: str = "sandbox-subscription"
    client_secret: str = "sandbox-client-secret"
    api_key: str = "sandbox-api-key"
    token_lifetime: float = 86_400.0
    feature: str = "on"
    segment_ref: str = "id"
    unknown_users: str = "accept"
    max_identities: int | None = None
    oversize_status: int = 413
    deleted_segment: str = "400"
    renames: str = "taken"
    attributes: Mapping[str, str] = field(default_factory=dict)
    product_keys: tuple[str, ...] = ("AP-SANDBOX0001-2",)
    workspaces: bool = False
    permission: str = "write"
    requests_per_second: int = 200
    requests_per_day: int = 1_000_000
    time_scale: float = 1.0


def _texts_by_name(value: object) -> dict[str, str]:
    """Read an object of texts, e.g. `{"vip": "BOOLEAN DISABLED"}`."""
    if not isinstance(value, dict):
        raise ValueError("must be an object of apiName to type")
    return {str(name): str(text(entry)) for name, entry in value.items()}


def _texts(value: object) -> tuple[str, ...]:
    """Read a list of texts."""
    if not isinstance(value, list):
        raise ValueError("must be a list of texts")
    return tuple(str(text(entry)) for entry in value)


_READERS: Mapping[str, Reader] = {
    "username": text,
    "password": text,
    "client_id": text,
    "client_secret": text,
    "api_key": text,
    "token_lifetime": seconds,
    "feature": one_of("on", "403", "404", "html"),
    "segment_ref": one_of("id", "external_id", "either"),
    "unknown_users": one_of("accept", "reject"),
    "max_identities": optional_number,
    "oversize_status": number,
    "deleted_segment": one_of("400", "404"),
    "renames": one_of("taken", "refused"),
    "attributes": _texts_by_name,
    "product_keys": _texts,
    "workspaces": flag,
    "permission": one_of("read", "write"),
}


def changed_config(config: GainsightPxConfig, changes: Mapping[str, object]) -> GainsightPxConfig:
    """Return the settings with `changes` applied; quotas and the time scale stay as they were at the start."""
    return with_changes(config, changes, _READERS)
