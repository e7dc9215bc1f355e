"""Settings of the ActiveCampaign sandbox, at the start and changed while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sandboxes.answers import InvalidControlError
from sandboxes.changed_settings import (
    Reader,
    address_set,
    flag,
    id_set,
    number,
    numbered_texts,
    one_of,
    seconds,
    text,
    with_changes,
)

IMPORT_ENDINGS = ("completed", "failed", "interrupted")


@dataclass(frozen=True)
class ImportOutcome:
    """How one import ends.

    `failed` applies no row, `interrupted` the first half; neither reports the rest. `unreported` addresses (lower
    case) are treated like the others but appear neither in `success` nor in `failure`. `seconds` is how long it takes,
    where that is not the account's `processing_seconds`: nobody promises that imports end in their order.
    """

    status: str = "completed"
    unreported: frozenset[str] = frozenset()
    seconds: float | None = None


@dataclass(frozen=True)
class ActiveCampaignConfig:
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

    api_key: str = "sandbox-api-key"
    lists: Mapping[int, str] = field(default_factory=lambda: {1: "Sandbox list"})
    invisible_lists: frozenset[int] = frozenset()
    fields: Mapping[int, str] = field(default_factory=dict)
    excluded: frozenset[str] = frozenset()
    wrong_key: str = "403"
    settings_forbidden: bool = False
    unpaid: bool = False
    contact_limit: int = 2_500_000
    processing_seconds: float = 6.0
    success_lists: str = "created_or_updated"
    excluded_at: str = "both"
    removed_in_import: str = "subscribes"
    exclude_automations_at: str = "either"
    ids_filter: bool = True
    imports_count: bool = False
    oversize_status: int = 413
    requests_per_second: int = 5
    imports_per_minute: int = 100
    single_imports_per_minute: int = 20
    time_scale: float = 1.0


_READERS: Mapping[str, Reader] = {
    "api_key": text,
    "lists": numbered_texts,
    "invisible_lists": id_set,
    "fields": numbered_texts,
    "excluded": address_set,
    "wrong_key": one_of("403", "html", "401"),
    "settings_forbidden": flag,
    "unpaid": flag,
    "contact_limit": number,
    "processing_seconds": seconds,
    "success_lists": one_of("created_or_updated", "created"),
    "excluded_at": one_of("both", "queue", "import"),
    "removed_in_import": one_of("subscribes", "refuses"),
    "exclude_automations_at": one_of("payload", "contact", "either"),
    "ids_filter": flag,
    "imports_count": flag,
    "oversize_status": number,
}


def changed_config(config: ActiveCampaignConfig, changes: Mapping[str, object]) -> ActiveCampaignConfig:
    """Return the settings with `changes` applied; quotas and the time scale stay as they were at the start."""
    return with_changes(config, changes, _READERS)


def read_outcome(value: object) -> ImportOutcome:
    """Read `{"status": "completed" | "failed" | "interrupted", "unreported": [address, ...], "seconds": 3600}`.

    All of it is optional.
    """
    if not isinstance(value, dict) or set(value) - {"status", "unreported", "seconds"}:
        raise InvalidControlError("an import outcome is an object with status, unreported and seconds")
    status = value.get("status", "completed")
    if status not in IMPORT_ENDINGS:
        raise InvalidControlError(f"an import ends {', '.join(IMPORT_ENDINGS)}")
    try:
        unreported = address_set(value.get("unreported", []))
        return ImportOutcome(status, unreported, seconds(value["seconds"]) if "seconds" in value else None)
    except ValueError as error:
        raise InvalidControlError(f"an import outcome: {error}") from error
