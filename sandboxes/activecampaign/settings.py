"""Settings of the ActiveCampaign sandbox, at the start and changed while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt
from pydantic.dataclasses import dataclass

from sandboxes.config import AccountConfig, Address, Text
from sandboxes.sample import Sample


@dataclass(frozen=True)
class ImportOutcome(AccountConfig):
    """How one import ends.

    `failed` applies no row, `interrupted` the first half; neither reports the rest. `unreported` addresses (lower
    case) are treated like the others but appear neither in `success` nor in `failure`. `seconds` is how long it takes,
    where that is not the account's `processing_seconds`: nobody promises that imports end in their order.
    """

    status: Literal["completed", "failed", "interrupted"] = "completed"
    unreported: frozenset[Address] = frozenset()
    seconds: NonNegativeFloat | None = None


@dataclass(frozen=True)
class ActiveCampaignConfig(AccountConfig):
    """An account as it is at the start.

    `wrong_key`: what a wrong key gets, because three reports conflict: `403` (documented), `html` (a log-in page with
    200, https://github.com/rudderlabs/rudder-transformer/pull/5350) or `401`.
    `processing_seconds`: from queueing an import to its end, before time scaling.
    `success_lists`: whether an import's `success` names created contacts only, or updated ones too (reports differ).
    `excluded_at`: what becomes of an excluded address. `both` (as the help page's example and its list of reasons read
    together): it is left out of `queued_contacts` and named in `failure`; `queue`: left out and never named; `import`:
    queued, and named in `failure`.
    `removed_in_import`: whether an import `subscribes` a contact whose list status is 91 (removed, nobody objected) or
    `refuses` it; undocumented.
    `exclude_automations_at`: where an import heeds `exclude_automations`: in the `payload` (as the docs' prose says),
    in each `contact` (as their example shows) or at `either` place.
    `ids_filter`: whether `GET /contacts` heeds `ids[]`, which is documented; a stand-in may not know it.
    `imports_count`: whether imports count among the requests of the second, too; undocumented.
    """

    api_key: Text = "sandbox-api-key"
    lists: Mapping[int, Text] = field(default_factory=lambda: {1: "Sandbox list"})
    invisible_lists: frozenset[NonNegativeInt] = frozenset()
    fields: Mapping[int, Text] = field(default_factory=dict)
    excluded: frozenset[Address] = frozenset()
    wrong_key: Literal["403", "html", "401"] = "403"
    settings_forbidden: bool = False
    unpaid: bool = False
    contact_limit: NonNegativeInt = 2_500_000
    processing_seconds: NonNegativeFloat = 6.0
    success_lists: Literal["created_or_updated", "created"] = "created_or_updated"
    excluded_at: Literal["both", "queue", "import"] = "both"
    removed_in_import: Literal["subscribes", "refuses"] = "subscribes"
    exclude_automations_at: Literal["payload", "contact", "either"] = "either"
    ids_filter: bool = True
    imports_count: bool = False
    oversize_status: NonNegativeInt = 413
    requests_per_second: NonNegativeInt = 5
    imports_per_minute: NonNegativeInt = 100
    single_imports_per_minute: NonNegativeInt = 20


SAMPLE = Sample(
    name="newsletter",
    connection={"api_host": "sandbox.api-us1.com", "api_key": "sandbox-api-key"},
    mapping={"email": "attributes.email", "first_name": "attributes.firstName"},
    options={"list_id": "1"},
)
