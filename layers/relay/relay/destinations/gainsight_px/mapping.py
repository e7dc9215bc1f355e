"""From mapped values to PX identities: pure functions."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from relay.domain.problems import Rejection, RejectionKind
from relay.domain.values import id_of

IDENTITY = "IDENTIFY_ID"

NO_IDENTITY = Rejection(
    RejectionKind.DATA, "no_identity", "the profile has no IDENTIFY_ID where the mapping looks for it"
)
MALFORMED_IDENTITY = Rejection(
    RejectionKind.DATA, "malformed_identity", "the IDENTIFY_ID is neither text nor a whole number: check the mapping"
)
SEVERAL_IDENTITIES = Rejection(
    RejectionKind.DATA,
    "several_identities",
    "the profile has several IDENTIFY_IDs and the export's multiple_identities says reject",
)

REJECTIONS = (NO_IDENTITY, MALFORMED_IDENTITY, SEVERAL_IDENTITIES)


def mapping_problems(mapping: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Yield (field, reason) for what is missing or unknown in an export's mapping."""
    if IDENTITY not in mapping:
        yield IDENTITY, "is required"
    for field in mapping:
        if field != IDENTITY:
            yield field, f"is no field of Gainsight PX: only {IDENTITY} is"


def identities_of(value: Any, several: Literal["first", "all", "reject"]) -> list[str] | Rejection:
    """Return the identities of a mapped value, each once and sorted.

    `first` is the smallest, so that the same one is taken however the platform orders a namespace that day; a mapping
    such as `identities.ecid[0]` takes the platform's first.
    An id is passed on exactly as it is, blanks and case included: PX knows the value its identify call was given. A
    whole number is its digits, also where the platform writes it as `1001.0`.
    """
    candidates = value if isinstance(value, list | tuple) else [value]
    found: set[str] = set()
    for item in candidates:
        if item is None or (isinstance(item, str) and not item.strip()):
            continue
        text = id_of(item)
        if text is None or not _can_be_sent(text):
            return MALFORMED_IDENTITY
        found.add(text)
    if not found:
        return NO_IDENTITY
    if len(found) > 1 and several == "reject":
        return SEVERAL_IDENTITIES
    return sorted(found) if several == "all" else [min(found)]


def _can_be_sent(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
