"""The fields of a source's secret that say where a body has what, for the dialect `mapped`."""

from collections.abc import Iterator, Mapping
from typing import Final

FIELDS: Final = ("each", "identities", "attributes", "segment", "in", "status", "at", "id")
"""The fields of a source's secret that are expressions of this dialect."""


def faults_of(given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a source of this dialect beside its expressions: field and reason."""
    if "identities" not in given:
        yield "identities", "is missing: an expression of an object with the ids of each namespace"
    if "segment" not in given and "attributes" not in given:
        yield "segment", "is missing, and attributes too: nothing would be taken"
    if "in" in given and "status" in given:
        yield "status", "stands beside in: one of the two says whether a person is in the segment"
    if "segment" in given and not given.keys() & {"in", "status"}:
        yield "in", "is missing: whether a person is in the segment (or give status)"
    if "segment" not in given and given.keys() & {"in", "status"}:
        yield "segment", "is missing: in and status say nothing without it"
