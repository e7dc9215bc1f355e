"""All questions there are."""

from collections.abc import Mapping
from typing import Final

from relay.workers.operators import (
    checker,
    codes,
    describing,
    explaining,
    following,
    probing,
    rejected,
    running,
    segments,
    status,
    tracing,
    validating,
)
from relay.workers.operators.protocol import Kind, Level

QUESTIONS: Final[Mapping[str, Kind]] = {
    "attempts": Kind(Level.VIEW, status.ListAttempts, status.Attempts),
    "cancel": Kind(Level.OPERATE, running.CancelRun, running.Done),
    "check": Kind(Level.VIEW, checker.Check, checker.Checked),
    "codes": Kind(Level.VIEW, codes.ListCodes, codes.Codes),
    "confirm": Kind(Level.OPERATE, running.ConfirmRun, running.Done),
    "explain": Kind(Level.VIEW, explaining.Explain, explaining.Explained),
    "follow": Kind(Level.VIEW, following.Follow, following.Followed),
    "describe": Kind(Level.VIEW, describing.Describe, describing.Description),
    "probe": Kind(Level.OPERATE, probing.Probe, probing.Probed),
    "rejected": Kind(Level.VIEW, rejected.ListRejected, rejected.RejectedPage),
    "run": Kind(Level.OPERATE, running.StartRun, running.RunPicture | running.NotStarted),
    "run_all": Kind(Level.OPERATE, running.StartAll, running.StartedAll),
    "runs": Kind(Level.VIEW, running.ListRuns, running.Runs),
    "segment": Kind(Level.VIEW, segments.ShowSegment, segments.SegmentPage),
    "segments": Kind(Level.VIEW, segments.ListSegments, segments.SegmentList),
    "show": Kind(Level.VIEW, running.ShowRun, running.RunPicture),
    "test": Kind(Level.OPERATE, tracing.TestExport, tracing.Tested),
    "trace": Kind(Level.VIEW, tracing.ShowTrace, tracing.Traced),
    "status": Kind(Level.VIEW, status.AskStatus, status.Status),
    "validate": Kind(Level.VIEW, validating.Validate, validating.Validated),
}
"""Every question by its name: what it needs, its arguments, its answer. `wiring.Stack.operator` says who answers it."""
