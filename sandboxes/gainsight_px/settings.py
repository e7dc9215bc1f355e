"""Settings of the Gainsight PX sandbox, at the start and changed while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt
from pydantic.dataclasses import dataclass

from sandboxes.config import AccountConfig, Text
from sandboxes.sample import Sample


@dataclass(frozen=True)
class GainsightPxConfig(AccountConfig):
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

    username: Text = "sandbox@example.com"
    password: Text = "sandbox-password"
    client_id: Text = "sandbox-subscription"
    client_secret: Text = "sandbox-client-secret"
    api_key: Text = "sandbox-api-key"
    token_lifetime: NonNegativeFloat = 86_400.0
    feature: Literal["on", "403", "404", "html"] = "on"
    segment_ref: Literal["id", "external_id", "either"] = "id"
    unknown_users: Literal["accept", "reject"] = "accept"
    max_identities: NonNegativeInt | None = None
    oversize_status: NonNegativeInt = 413
    deleted_segment: Literal["400", "404"] = "400"
    renames: Literal["taken", "refused"] = "taken"
    attributes: Mapping[str, Text] = field(default_factory=dict)
    product_keys: tuple[Text, ...] = ("AP-SANDBOX0001-2",)
    workspaces: bool = False
    permission: Literal["read", "write"] = "write"
    requests_per_second: NonNegativeInt = 200
    requests_per_day: NonNegativeInt = 1_000_000


SAMPLE = Sample(
    name="product",
    connection={"region": "eu", "api_key": "sandbox-api-key"},
    mapping={"IDENTIFY_ID": "identities.crm"},
)
