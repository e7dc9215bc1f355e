"""What a set of files is beside those of its segment that are known."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from relay.domain.segment_imports import ImportState, SegmentImport
from relay.segment_imports.files import FileSet
from relay.stores import segment_imports
from relay.stores.database import Database


def among_known(database: Database, one: SegmentImport, given: FileSet) -> tuple[SegmentImport, str | None]:
    """Return an import as it is beside the known ones of its segment, and why it is of no use, None where it is.

    What is left of a set, after some of it was deleted or replaced, is no set. A set that holds all of an earlier one,
    and more, counts as newer by a little: that one was imported by halves, and whom it took out is to enter.
    """
    mine = {(part.key, part.etag) for part in given.parts}
    written = given.at if given.written is None else given.written
    for known, objects in segment_imports.objects(database, one.segment) if mine else ():
        if mine <= objects and written <= known.begun_at:
            return one, f"all of it is part of the set of import {known.id}"
        if objects and objects < mine and known.state is not ImportState.REFUSED and known.at >= one.at:
            one = replace(one, at=known.at + timedelta(microseconds=1))
    return one, None


def newest_first(sets: Sequence[FileSet]) -> list[FileSet]:
    """Return the sets that are there, the newest first."""
    return sorted((one for one in sets if one.due is None), key=lambda one: one.at, reverse=True)


def digest(segment: str, given: FileSet, closed_set: str | None) -> str:
    """Return what tells a set of a segment from all others, and from the same set when it is written again."""
    text = repr((segment, closed_set, [tuple(part) for part in given.parts], given.written))
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:10]
