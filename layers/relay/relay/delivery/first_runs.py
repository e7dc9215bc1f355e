"""Whether an export's first run is still to come, and how many profiles it will look at."""

from relay.domain.exports import Export
from relay.domain.keyed_hash import BUCKETS
from relay.domain.runs import RunState
from relay.stores import runs, segments
from relay.stores.database import Database


def exceeds(database: Database, export: Export, count: int) -> bool:
    """Return whether no run of an export has begun yet, and more than `count` profiles are in its segments.

    Reads no more of the index than it takes to know: at most one query per segment and bucket.
    """
    if any(run.state is not RunState.REFUSED for run in runs.latest(database, export.key)):
        return False
    found = 0
    for bucket in range(BUCKETS):
        rest = count + 1 - found
        found += len({one for name in export.segments for one in segments.listing(database, name, bucket, limit=rest)})
        if found > count:
            return True
    return False
