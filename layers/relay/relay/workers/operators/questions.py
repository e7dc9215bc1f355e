"""All questions there are."""

from collections.abc import Mapping
from typing import Final

from relay.workers.operators import checker, codes, planning, probing, running
from relay.workers.operators.protocol import Kind, Level

QUESTIONS: Final[Mapping[str, Kind]] = {
    "cancel": Kind(Level.OPERATE, running.CancelRun, running.Done),
    "check": Kind(Level.VIEW, checker.Check, checker.Checked),
    "codes": Kind(Level.VIEW, codes.ListCodes, codes.Codes),
    "confirm": Kind(Level.OPERATE, running.ConfirmRun, running.Done),
    "plan": Kind(Level.VIEW, planning.PlanRun, planning.Planned),
    "probe": Kind(Level.OPERATE, probing.Probe, probing.Probed),
    "run": Kind(Level.OPERATE, running.StartRun, running.RunPicture | running.NotStarted),
    "run_all": Kind(Level.OPERATE, running.StartAll, running.StartedAll),
    "runs": Kind(Level.VIEW, running.ListRuns, running.Runs),
    "show": Kind(Level.VIEW, running.ShowRun, running.RunDetails),
}
"""Every question by its name: what it needs, its arguments, its answer. `wiring.Stack.operator` says who answers it."""
