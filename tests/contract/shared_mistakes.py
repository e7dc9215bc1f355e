"""Mistakes in what destinations share, and what of the suite notices each."""

from __future__ import annotations

from collections.abc import Callable

from scaffold.model.subject import NewsletterSubject
from tests.contract import test_activecampaign_conversations, test_calls, test_faults
from tests.contract.activecampaign_subject import ActiveCampaignSubject
from tests.contract.gainsight_px_subject import GainsightPxSubject
from tests.contract.planting import Mistake
from tests.contract.subject import Subject


def _mistake(
    name: str,
    module: str,
    old: str,
    new: str,
    noticed_by: Callable[..., None],
    kind: type[Subject],
    case: str | None = None,
) -> Mistake:
    return Mistake(name, f"relay.destinations.{module}", {old: new}, noticed_by, kind, case)


WRITES = test_faults.test_a_fault_at_a_request_that_writes
OUR_LIMIT = test_faults.test_our_own_limit_stays_our_own
REFUSED = test_calls.test_refused_rows_are_found_wherever_they_are_and_hide_nobody

MISTAKES = (
    _mistake(
        "a call of which a part was taken was not taken",
        "isolating",
        "    return kind(problem.code, what, taken=None,",
        "    return kind(problem.code, what, taken=problem.taken,",
        WRITES,
        NewsletterSubject,
        "some join and one leaves",
    ),
    _mistake(
        "our own limit in the middle of a call is trouble of the vendor's",
        "isolating",
        "    kind = Busy if isinstance(problem, Busy | Conflict) else Transient",
        "    kind = Transient",
        OUR_LIMIT,
        NewsletterSubject,
        "some join and one leaves",
    ),
    _mistake(
        "what cannot be noted undoes what was taken",
        "isolating",
        "        with contextlib.suppress(Problem):",
        "        if self.notes:",
        OUR_LIMIT,
        ActiveCampaignSubject,
        "two join",
    ),
    _mistake(
        "half of a refused call is forgotten",
        "isolating",
        "            waiting += [(part[middle:], True), (part[:middle], True)]",
        "            waiting += [(part[:middle], True)]",
        REFUSED,
        GainsightPxSubject,
        "with the whole call",
    ),
    _mistake(
        "the rest of a call is not sent once rows are named",
        "isolating",
        "            if rest:\n                waiting.append((rest, False))",
        "            if not rest:\n                waiting.append((rest, False))",
        test_activecampaign_conversations.test_rows_the_import_names_are_dropped_and_the_rest_is_sent_once_more,
        ActiveCampaignSubject,
    ),
    _mistake(
        "when everything is refused everybody is to blame",
        "isolating",
        "        if not taken and refusals == MAX_REFUSALS and not proof.is_there():",
        "        if not taken and refusals > 10_000 and not proof.is_there():",
        test_calls.test_when_everything_is_refused_the_export_stops_and_nobody_is_blamed,
        GainsightPxSubject,
    ),
    _mistake(
        "who is told to slow down may have been heard",
        "error_table",
        """"asks us to slow down", taken=False),""",
        """"asks us to slow down"),""",
        WRITES,
        NewsletterSubject,
        "one joins",
    ),
    _mistake(
        "the rest that is asked for is not kept",
        "error_table",
        "        retry_after=row.least_wait if wait is None else wait,",
        "        retry_after=row.least_wait,",
        WRITES,
        NewsletterSubject,
        "one joins",
    ),
    _mistake(
        "a success that is none did nothing",
        "error_table",
        "            problem.taken = None",
        "            problem.taken = False",
        WRITES,
        GainsightPxSubject,
        "two leave",
    ),
    _mistake(
        "a 504 is certain",
        "error_table",
        """    Row(range(500, 600), Outcome.TRANSIENT, "unavailable", "has a problem of its own"),""",
        """    Row(range(500, 600), Outcome.TRANSIENT, "unavailable", "has a problem of its own", taken=False),""",
        WRITES,
        NewsletterSubject,
        "one joins",
    ),
)
