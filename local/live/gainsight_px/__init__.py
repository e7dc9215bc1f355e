"""The smoke test of a Gainsight PX subscription, with one of its test users and one external segment.

Variable, besides those of `local.live.access`: `IDENTIFY_ID`, the id of a user of PX who may be put into the segment
for a minute.
"""

from local.live.gainsight_px.run import PAUSE_SECONDS, run

__all__ = ["PAUSE_SECONDS", "run"]
