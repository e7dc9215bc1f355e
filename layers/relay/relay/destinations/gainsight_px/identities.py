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
    """Yield (target, reason) for what is missing or unknown in an export's mapping."""
    if IDENTITY not in mapping:
        yield IDENTITY, "is required"
    for target in mapping.keys() - {IDENTITY}:
        yield target, f"is not a target: external segments take only {IDENTITY}"


def identities_of(value: Any, several: Literal["first", "all", "reject"]) -> list[str] | Rejection:
    """Return the identities of a mapped value, each once and sorted.

    `first` is the smallest, so that the same one is taken however the platform orders a namespace that day; a mapping
    such as `identities.ecid[0]` takes the platform's first.
    An id is passed on exactly as it is, blanks and case included: PX knows the value its identify call was given. A
    whole number is its digits, also where the platform writes it as `1001.0`.
    """
    candidates = value if isinstance(value, list | tuple) else [value]
    texts = [id_of(one) for one in candidates if one is not None and not (isinstance(one, str) and not one.strip())]
    found = {text for text in texts if text is not None}
    # Half of a character (a platform cut it in two) cannot be sent.
    if None in texts or any("\ud800" <= letter <= "\udfff" for text in found for letter in text):
        return MALFORMED_IDENTITY
    if not found:
        return NO_IDENTITY
    if len(found) > 1 and several == "reject":
        return SEVERAL_IDENTITIES
    return sorted(found) if several == "all" else [min(found)]
