"""Mistakes somebody might make in the small destination, and what of the suite notices each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scaffold.model.subject import NewsletterSubject
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
    return Mistake(name, "scaffold.model.package", changes, noticed_by, NewsletterSubject, case)


WRITES, READS, SHAPES = (
    test_faults.test_a_fault_at_a_request_that_writes,
    test_faults.test_a_fault_at_a_request_that_reads,
    test_faults.test_json_of_another_shape,
)
EDITED = test_membership.test_after_an_edit_whoever_leaves_is_taken_off_what_they_were_put_on

MISTAKES = (
    _mistake(
        "a partial write is told as not taken",
        """                raise in_the_middle(problem, "some were told") from None""",
        "                raise",
        WRITES,
        "some join and one leaves",
    ),
    _mistake(
        "a 5xx is certain",
        "        if raise_for(reply, TABLE) is not None:\n            return None\n        became",
        """        if reply.status >= 500:
            raise Transient("unavailable", "has a problem of its own", taken=False)
        if raise_for(reply, TABLE) is not None:
            return None
        became""",
        WRITES,
        "one joins",
    ),
    _mistake(
        "a time-out is certain",
        """        reply = self._call("POST",""",
        """        try:
            self._call("POST", f"{self._root}/{path}", quota=API, headers=self._headers, json={"members": members})
        except Problem as problem:
            problem.taken = False
            raise
        reply = self._call("POST",""",
        WRITES,
        "one joins",
    ),
    _mistake(
        "what was certainly not done may have been",
        "        try:\n            return self._lists()",
        """        try:
            return self._lists()
        except Transient as problem:
            problem.taken = None
            raise""",
        READS,
        "one joins",
    ),
    _mistake(
        "a 400 is taken for success",
        """        if became is None:
            return {}""",
        """        if became is None:
            return None""",
        WRITES,
        "one joins",
    ),
    _mistake(
        "who is not answered was taken",
        '        if became.keys() != {member["email"] for member in members} or not KNOWN.issuperset(became.values()):',
        '        became = {**{member["email"]: "added" for member in members}, **became}\n        if not became:',
        SHAPES,
        "one joins",
        {"""        raise Transient("unexpected_answer", f"gave {name} in another shape")""": "        return []"},
    ),
    _mistake(
        "the error of one row hides the others",
        """        refused.update({index: REFUSED for index in part if became[steps[index].identity] == "refused"})""",
        """        if "refused" in became.values():
            refused.update(dict.fromkeys(part, REFUSED))""",
        test_calls.test_refused_rows_are_found_wherever_they_are_and_hide_nobody,
    ),
    _mistake(
        "a rejection nobody can look up",
        "for one in (NO_EMAIL, MALFORMED_EMAIL, REFUSED)}",
        "for one in (NO_EMAIL, MALFORMED_EMAIL)}",
        test_calls.test_refused_rows_are_found_wherever_they_are_and_hide_nobody,
    ),
    _mistake(
        "a refusal beside successes is hidden",
        """        refused.update({index: REFUSED for index in part if became[steps[index].identity] == "refused"})""",
        """        if set(became.values()) == {"refused"}:
            refused.update(dict.fromkeys(part, REFUSED))""",
        test_calls.test_refused_rows_are_found_wherever_they_are_and_hide_nobody,
    ),
    _mistake(
        "leavers are taken off today's list",
        """        keys = {target: client.list_key(_list_in(target)) for target, _ in groups}""",
        """        keys = {target: client.list_key(export.options.list_id) for target, _ in groups}""",
        EDITED,
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
        test_limits.test_the_vendor_never_has_to_refuse,
        "newsletter",
    ),
    _mistake(
        "a limit without room for jitter",
        'API = Quota("api", 1_900, timedelta(hours=1), a_day=18_000)',
        'API = Quota("api", 2_001, timedelta(hours=1), a_day=18_000)',
        test_limits.test_the_vendor_never_has_to_refuse,
        "newsletter",
    ),
    _mistake(
        "a daily budget above the vendor's",
        "a_day=18_000",
        "a_day=72_000",
        test_limits.test_the_vendor_never_has_to_refuse,
        "newsletter",
    ),
    _mistake(
        "the second page is not read",
        """            after = reply.body.get("next")""",
        "            after = None",
        test_pages.test_the_record_that_matters_is_found_on_any_page,
    ),
    _mistake(
        "rows beyond the first chunk are lost",
        """            calls[-1].append(index)""",
        """            if len(calls) == 1:
                calls[-1].append(index)""",
        test_calls.test_calls_cover_every_step_once_and_in_order_and_nobody_is_asked,
    ),
    _mistake(
        "calls larger than the vendor takes",
        "len(calls[-1]) == MOST_MEMBERS or",
        "len(calls[-1]) == 2 * MOST_MEMBERS or",
        test_calls.test_calls_cover_every_step_once_and_in_order_and_nobody_is_asked,
    ),
    _mistake(
        "in and out in one call",
        "or place in places:",
        "or place in ():",
        test_calls.test_calls_cover_every_step_once_and_in_order_and_nobody_is_asked,
    ),
    _mistake(
        "one time is sent for all",
        """        rows = [_row(steps[index]) for index in part]""",
        """        rows = [{**_row(steps[index]), "since": moments.text(steps[part[0]].at)} for index in part]""",
        test_membership.test_each_time_is_sent_as_it_is,
    ),
    _mistake(
        "an error text holds a secret",
        """            raise Transient("unexpected_answer", "not everybody was answered")""",
        """            raise Transient("unexpected_answer", f"not everybody was answered {self._headers}")""",
        SHAPES,
        "one joins",
    ),
    _mistake(
        "an error text holds an identity",
        """            raise Transient("unexpected_answer", "not everybody was answered")""",
        """            raise Transient("unexpected_answer", f"not everybody was answered {members}")""",
        SHAPES,
        "one joins",
    ),
    _mistake(
        "our own limit becomes trouble of the vendor",
        """                raise in_the_middle(problem, "some were told") from None""",
        """                raise Transient(problem.code, problem.what) from None""",
        test_faults.test_our_own_limit_stays_our_own,
        "some join and one leaves",
    ),
    _mistake(
        "empty values are sent",
        """    return {"email": step.identity, "since": moments.text(step.at), **step.values}""",
        """    return {"email": step.identity, "since": moments.text(step.at), "name": "", **step.values}""",
        test_membership.test_nothing_empty_is_ever_sent,
    ),
    _mistake(
        "every outage stops the connection",
        "    *DEFAULT_TABLE,",
        """    Row((500, 502, 503), Outcome.CONNECTION, "down", "is down"),
    *DEFAULT_TABLE,""",
        WRITES,
        "one joins",
    ),
    _mistake(
        "a check calls a list that is gone well",
        "            is_there = export.options.list_id in lists",
        "            is_there = True",
        test_declarations.test_what_an_export_cannot_work_without_is_told_by_a_check_and_by_delivering,
    ),
)
