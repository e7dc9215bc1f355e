"""Mistakes somebody might make in Newsletter Tool's destination, and what of the suite notices each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scaffold.model.subject import NewsletterToolSubject
from tests.contract import test_calls, test_declarations, test_faults, test_limits, test_membership, test_pages
from tests.contract.planting import Mistake


def _mistake(
    name: str,
    old: str,
    new: str,
    noticed_by: Callable[..., None],
    case: str | None = None,
    also: Mapping[str, str] | None = None,
) -> Mistake:
    changes = {old: new, **(also or {})}
    return Mistake(name, "scaffold.model.package", changes, noticed_by, NewsletterToolSubject, case)


WRITES, READS, SHAPES = (
    test_faults.test_a_fault_at_a_request_that_writes,
    test_faults.test_a_fault_at_a_request_that_reads,
    test_faults.test_json_of_another_shape,
)
LIMITS = test_limits.test_the_vendor_never_has_to_refuse
REFUSED_ROWS = test_calls.test_refused_rows_are_found_wherever_they_are_and_hide_nobody
EDITED = test_membership.test_after_an_edit_whoever_leaves_is_taken_off_what_they_were_put_on
DELETED = test_membership.test_whoever_leaves_what_was_deleted_has_left_it

MISTAKES = (
    _mistake(
        "a 5xx is certain",
        "TABLE = (Row(",
        """TABLE = (
    Row(range(500, 600), Outcome.TRANSIENT, "unavailable", "has a problem of its own", taken=False), Row(""",
        WRITES,
        "one joins",
    ),
    _mistake(
        "whatever becomes of a call it did nothing",
        """            statuses = api.send("POST", path, became, json={"members": rows})""",
        """            with nothing_done():
                statuses = api.send("POST", path, became, json={"members": rows})""",
        WRITES,
        "one joins",
    ),
    _mistake(
        "what reads may have done something",
        "        with nothing_done():\n            key = ",
        "        if api:\n            key = ",
        READS,
        "one joins",
        {'after = api.read("v2/lists", page': 'after = api.send("GET", "v2/lists", page'},
    ),
    _mistake(
        "a 400 is taken for success",
        """            statuses = api.send("POST", path, became, json={"members": rows})""",
        """            statuses = api.send("POST", path, became, json={"members": rows})
        except error_table.Refused:
            statuses = []""",
        WRITES,
        "one joins",
        {"import moments\n": "import moments\nfrom relay.destinations import error_table\n"},
    ),
    _mistake(
        "whatever is JSON is a success",
        """"POST", path, became,""",
        """"POST", path, lambda reply: ["added"] * len(rows),""",
        SHAPES,
        "one joins",
    ),
    _mistake(
        "the error of one row hides the others",
        """for index, status in enumerate(statuses) if status == "refused"}""",
        """for index, _ in enumerate(statuses) if "refused" in statuses}""",
        REFUSED_ROWS,
    ),
    _mistake(
        "a rejection nobody can look up",
        "    rejections = (REFUSED,)",
        "    rejections = ()",
        REFUSED_ROWS,
    ),
    _mistake(
        "a refusal beside successes is hidden",
        """        return {index: REFUSED for""",
        """        return {} if len(set(statuses)) > 1 else {index: REFUSED for""",
        REFUSED_ROWS,
    ),
    _mistake(
        "leavers are taken off today's list",
        "            key = _key_of(account, api, target)",
        "            key = _key_of(account, api, max(_lists(api)))",
        EDITED,
    ),
    _mistake(
        "a list that is gone stops the connection",
        "Row((404,), Outcome.EXPORT,",
        "Row((404,), Outcome.CONNECTION,",
        DELETED,
    ),
    _mistake(
        "a leaver is sent as a joiner",
        """{'members' if joins else 'removals'}""",
        """members""",
        test_membership.test_who_leaves_is_out_with_all_their_values_and_the_others_stay,
    ),
    _mistake(
        "limits four times too high",
        'API = Quota("api", 1_900, timedelta(hours=1), a_day=18_000)',
        'API = Quota("api", 4 * 1_900, timedelta(hours=1), a_day=18_000)',
        LIMITS,
        "newsletter_tool",
    ),
    _mistake(
        "a limit without room for jitter",
        'API = Quota("api", 1_900, timedelta(hours=1), a_day=18_000)',
        'API = Quota("api", 2_001, timedelta(hours=1), a_day=18_000)',
        LIMITS,
        "newsletter_tool",
    ),
    _mistake(
        "a daily budget above the vendor's",
        "a_day=18_000",
        "a_day=72_000",
        LIMITS,
        "newsletter_tool",
    ),
    _mistake(
        "the second page is not read",
        """None if reply.body.get("next") is None else part(reply.body, "next", str)""",
        "None",
        test_pages.test_the_record_that_matters_is_found_on_any_page,
    ),
    _mistake(
        "calls larger than the vendor takes",
        "    call_size = 50",
        "    call_size = 100",
        test_calls.test_a_full_call_and_more_is_taken_at_once,
    ),
    _mistake(
        "a request for every step",
        """            statuses = api.send("POST", path, became, json={"members": rows})""",
        """            for row in rows:
                api.send("POST", path, lambda reply: None, json={"members": [row]})
            statuses = api.send("POST", path, became, json={"members": rows})""",
        test_calls.test_a_full_call_is_over_within_a_minute,
    ),
    _mistake(
        "one time is sent for all",
        """"since": moments.text(step.at)""",
        """"since": moments.text(steps[0].at)""",
        test_membership.test_each_time_is_sent_as_it_is,
    ),
    _mistake(
        "empty values are sent",
        """moments.text(step.at), **step.values}""",
        """moments.text(step.at), "name": "", **step.values}""",
        test_membership.test_nothing_empty_is_ever_sent,
    ),
    _mistake(
        "every outage stops the connection",
        "TABLE = (Row(",
        """TABLE = (Row((500, 502, 503), Outcome.CONNECTION, "down", "is down"), Row(""",
        WRITES,
        "one joins",
    ),
    _mistake(
        "a check calls a list that is gone well",
        "        return _lists(_api(account)).keys()",
        """        return {"list/7", *_lists(_api(account))}""",
        test_declarations.test_what_an_export_cannot_work_without_is_told_by_a_check_and_by_delivering,
    ),
)
