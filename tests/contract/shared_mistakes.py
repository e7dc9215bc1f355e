"""Mistakes in what destinations share, and what of the suite notices each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scaffold.model.subject import NewsletterToolSubject
from tests.contract import test_activecampaign_conversations, test_calls, test_faults, test_membership, test_pages
from tests.contract.activecampaign_subject import (
    ActiveCampaignQuietSubject,
    ActiveCampaignSubject,
    ActiveCampaignTaggingSubject,
    ActiveCampaignUnsubscribingSubject,
)
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
    also: Mapping[str, str] | None = None,
) -> Mistake:
    return Mistake(name, f"relay.destinations.{module}", {old: new, **(also or {})}, noticed_by, kind, case)


WRITES = test_faults.test_a_fault_at_a_request_that_writes
OUR_LIMIT = test_faults.test_our_own_limit_stays_our_own
CALLS = test_calls.test_calls_cover_every_step_once_and_in_order_and_nobody_is_asked
DELETED = test_membership.test_whoever_leaves_what_was_deleted_has_left_it
REFUSED = test_calls.test_refused_rows_are_found_wherever_they_are_and_hide_nobody

MISTAKES = (
    _mistake(
        "a call of which a part was taken was not taken",
        "outcomes",
        "        raise problem.with_outcome(None, known) from None",
        "        raise problem.with_outcome(problem.taken, known) from None",
        WRITES,
        ActiveCampaignUnsubscribingSubject,
        "one joins",
    ),
    _mistake(
        "our own limit in the middle of a call is trouble of the vendor's",
        "outcomes",
        "        raise problem.with_outcome(None, known) from None",
        "        raise Transient(problem.code, problem.what) from None",
        OUR_LIMIT,
        ActiveCampaignUnsubscribingSubject,
        "one joins",
        {"import Problem": "import Problem, Transient"},
    ),
    _mistake(
        "whatever goes on once a call was begun is over at once",
        "outcomes",
        "        rest = timedelta() if problem.taken is False else problem.effect_within",
        "        rest = timedelta()",
        WRITES,
        ActiveCampaignUnsubscribingSubject,
        "one joins",
    ),
    _mistake(
        "whatever only reads may have done something",
        "outcomes",
        "        raise problem.with_outcome(False) from None",
        "        raise",
        test_faults.test_a_fault_at_a_request_that_reads,
        NewsletterToolSubject,
        "one joins",
    ),
    _mistake(
        "what cannot be noted undoes what was taken",
        "isolating",
        "        with suppress(Problem):",
        "        if self.notes:",
        OUR_LIMIT,
        ActiveCampaignSubject,
        "two join",
    ),
    _mistake(
        "half of a refused call is forgotten",
        "isolating",
        "                waiting += [(part[middle:], True), (part[:middle], True)]",
        "                waiting += [(part[:middle], True)]",
        REFUSED,
        GainsightPxSubject,
        "with the whole call",
    ),
    _mistake(
        "the rest of a call is not sent once rows are named",
        "isolating",
        "                if rest:\n                    waiting.append((rest, False))",
        "                if not rest:\n                    waiting.append((rest, False))",
        test_activecampaign_conversations.test_rows_the_import_names_are_dropped_and_the_rest_is_sent_once_more,
        ActiveCampaignSubject,
    ),
    _mistake(
        "when everything is refused everybody is to blame",
        "isolating",
        "        if self.refusals.in_a_row[key] < MAX_REFUSALS:",
        "        if self.refusals.in_a_row[key] < 10_000:",
        test_calls.test_when_everything_is_refused_the_export_stops_and_nobody_is_blamed,
        GainsightPxSubject,
    ),
    _mistake(
        "rows beyond the first call are lost",
        "cutting",
        "        calls[number].append(index)",
        "        if number == 0:\n            calls[number].append(index)",
        CALLS,
        NewsletterToolSubject,
    ),
    _mistake(
        "calls larger than is declared",
        "cutting",
        "len(calls[number]) == most",
        "len(calls[number]) > most",
        CALLS,
        NewsletterToolSubject,
    ),
    _mistake(
        "the later of two steps goes out in the same call",
        "cutting",
        "number <= last.get(place, -1)",
        "number < 0",
        CALLS,
        ActiveCampaignQuietSubject,
    ),
    _mistake(
        "calls larger than fits",
        "cutting",
        " or left[number] < bytes_",
        "",
        test_calls.test_a_full_call_and_more_is_taken_at_once,
        ActiveCampaignSubject,
    ),
    _mistake(
        "those who leave are sent with those who join",
        "standard",
        "lane=lambda step: (step.target, step.joins)",
        "lane=lambda step: step.target",
        test_membership.test_joining_and_leaving_in_one_delivery_ends_with_the_later_step,
        NewsletterToolSubject,
    ),
    _mistake(
        "whoever leaves what was deleted stops the export",
        "standard",
        "            if joins:\n                raise",
        "            if joins or problem:\n                raise",
        DELETED,
        NewsletterToolSubject,
    ),
    _mistake(
        "records that cannot be read are passed over",
        "api",
        "            return records(reply.body, key), read(reply.body)",
        """            shown = reply.body.get(key) if isinstance(reply.body, dict) else None
            page = {key: [one for one in shown if isinstance(one, dict)] if isinstance(shown, list) else []}
            return page[key], read(page)""",
        test_faults.test_json_of_another_shape,
        ActiveCampaignTaggingSubject,
        "one leaves",
    ),
    _mistake(
        "the second page is not read",
        "api",
        "            if len(shown) < size:\n                return",
        "            return",
        test_pages.test_the_record_that_matters_is_found_on_any_page,
        ActiveCampaignTaggingSubject,
    ),
    _mistake(
        "a page of the default size is the last",
        "api",
        '"limit": str(size), "offset"',
        '"offset"',
        test_pages.test_the_record_that_matters_is_found_on_any_page,
        ActiveCampaignUnsubscribingSubject,
    ),
    _mistake(
        "the first record of a page is skipped",
        "api",
        "            offset += size",
        "            offset += size + 1",
        test_pages.test_the_record_that_matters_is_found_on_any_page,
        ActiveCampaignTaggingSubject,
    ),
    _mistake(
        "an error text repeats what the vendor wrote",
        "api",
        "        raise OtherShape(name)\n    return value",
        '        raise OtherShape(f"{name} of {holder}")\n    return value',
        test_faults.test_json_of_another_shape,
        NewsletterToolSubject,
        "one joins",
    ),
    _mistake(
        "an error text holds the key",
        "api",
        'f"refuses to show it (HTTP {refused.reply.status})"',
        'f"refuses to show it to {self.headers}"',
        test_faults.test_a_fault_while_something_is_asked,
        NewsletterToolSubject,
        "before a run",
    ),
    _mistake(
        "who is told to slow down may have been heard",
        "error_table",
        """"asks us to slow down", taken=False),""",
        """"asks us to slow down"),""",
        WRITES,
        NewsletterToolSubject,
        "one joins",
    ),
    _mistake(
        "the rest that is asked for is not kept",
        "error_table",
        "        retry_after=row.least_wait if wait is None else wait,",
        "        retry_after=row.least_wait,",
        WRITES,
        NewsletterToolSubject,
        "one joins",
    ),
    _mistake(
        "a success that is none did nothing",
        "error_table",
        """(HTTP {reply.status})").with_outcome(None) from None""",
        """(HTTP {reply.status})").with_outcome(False) from None""",
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
        NewsletterToolSubject,
        "one joins",
    ),
)
