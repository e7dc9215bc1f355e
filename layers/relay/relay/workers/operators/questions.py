"""All questions there are."""

from collections.abc import Mapping
from typing import Final

from relay.workers.operators import (
    checker,
    codes,
    describing,
    explaining,
    file_check,
    following,
    forgetting,
    importing,
    planning,
    probing,
    rejected,
    running,
    segments,
    status,
    taking,
    tracing,
    validating,
)
from relay.workers.operators.protocol import Kind, Level

QUESTIONS: Final[Mapping[str, Kind]] = {
    "attempts": Kind(Level.VIEW, status.ListAttempts, status.Attempts),
    "cancel": Kind(Level.OPERATE, running.CancelRun, running.Cancelled),
    "cancel_import": Kind(Level.OPERATE, importing.CancelImport, running.Done),
    "check": Kind(Level.VIEW, checker.Check, checker.Checked),
    "check_file": Kind(Level.VIEW, file_check.CheckFile, file_check.CheckedFile),
    "codes": Kind(Level.VIEW, codes.ListCodes, codes.Codes),
    "confirm": Kind(Level.OPERATE, running.ConfirmRun, running.Done),
    "confirm_import": Kind(Level.OPERATE, importing.ConfirmImport, running.Done),
    "describe": Kind(Level.VIEW, describing.Describe, describing.Description),
    "explain": Kind(Level.VIEW, explaining.Explain, explaining.Explained),
    "follow": Kind(Level.VIEW, following.Follow, following.Followed),
    "forget": Kind(Level.FORGET, forgetting.ForgetPerson, forgetting.ForgottenPerson),
    "import": Kind(Level.VIEW, importing.ShowImport, importing.ImportPicture),
    "imports": Kind(Level.VIEW, importing.ListImports, importing.Imports),
    "plan": Kind(Level.VIEW, planning.PlanRun, planning.Planned),
    "probe": Kind(Level.OPERATE, probing.Probe, probing.Probed),
    "rejected": Kind(Level.VIEW, rejected.ListRejected, rejected.RejectedPage),
    "run": Kind(Level.OPERATE, running.StartRun, running.RunPicture | running.NotStarted),
    "run_all": Kind(Level.OPERATE, running.StartAll, running.StartedAll),
    "runs": Kind(Level.VIEW, running.ListRuns, running.Runs),
    "segment": Kind(Level.VIEW, segments.ShowSegment, segments.SegmentPage),
    "segments": Kind(Level.VIEW, segments.ListSegments, segments.SegmentList),
    "show": Kind(Level.VIEW, running.ShowRun, running.RunDetails),
    "status": Kind(Level.VIEW, status.AskStatus, status.Status),
    "take": Kind(Level.VIEW, taking.Take, taking.TakenBody),
    "test": Kind(Level.OPERATE, tracing.TestExport, tracing.Tested),
    "trace": Kind(Level.VIEW, tracing.ShowTrace, tracing.Traced),
    "validate": Kind(Level.VIEW, validating.Validate, validating.Validated),
}
"""Every question by its name: what it needs, its arguments, its answer. `wiring.Stack.operator` says who answers it."""
