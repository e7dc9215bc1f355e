"""Mistakes somebody might make in the destination Gainsight PX, and what of the suite notices each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.contract import (
    test_calls,
    test_declarations,
    test_faults,
    test_gainsight_px_conversations,
    test_limits,
    test_membership,
)
from tests.contract.gainsight_px_subject import GainsightPxAttributesSubject, GainsightPxSubject
from tests.contract.planting import Mistake
from tests.contract.subject import Subject

SEGMENTS, ATTRIBUTES = GainsightPxSubject, GainsightPxAttributesSubject


def _mistake(
    name: str,
    module: str,
    old: str,
    new: str,
    noticed_by: Callable[..., None],
    kind: type[Subject] = SEGMENTS,
    case: str | None = None,
    also: Mapping[str, str] | None = None,
) -> Mistake:
    return Mistake(name, f"relay.destinations.gainsight_px{module}", {old: new, **(also or {})}, noticed_by, kind, case)


WRITES, READS, SHAPES = (
    test_faults.test_a_fault_at_a_request_that_writes,
    test_faults.test_a_fault_at_a_request_that_reads,
    test_faults.test_json_of_another_shape,
)
EDITED = test_membership.test_after_an_edit_whoever_leaves_is_taken_off_what_they_were_put_on
LIMITS = test_limits.test_the_vendor_never_has_to_refuse
REFUSED = test_calls.test_refused_rows_are_found_wherever_they_are_and_hide_nobody

MISTAKES = (
    # What is certain.
    _mistake(
        "whatever becomes of a call it did nothing",
        ".client",
        """        return self._call(update.method, update.path, json=body)""",
        """        with nothing_done():
            return self._call(update.method, update.path, json=body)""",
        WRITES,
        SEGMENTS,
        "two join",
    ),
    _mistake(
        "whatever becomes of a user nothing was done",
        ".client",
        """        return self._call(update.method, update.path, json=body)""",
        """        with nothing_done():
            return self._call(update.method, update.path, json=body)""",
        WRITES,
        ATTRIBUTES,
        "one leaves",
    ),
    _mistake(
        "making a segment may have told memberships",
        ".client",
        """        with nothing_done():
            return self._call("POST", "external_segment/metadata",""",
        """        if texts:
            return self._call("POST", "external_segment/metadata",""",
        WRITES,
        SEGMENTS,
        "one joins",
    ),
    _mistake(
        "a 400 is taken for success",
        ".errors",
        "    result_of(reply, table, taken, about=status_word)",
        """    if reply.status != 400:
        result_of(reply, table, taken, about=status_word)""",
        WRITES,
        SEGMENTS,
        "one joins",
    ),
    _mistake(
        "a 404 is taken for success",
        ".attribute_mode",
        "if rejection is not UNKNOWN_USER or steps[i].joins}",
        "if rejection is not UNKNOWN_USER}",
        REFUSED,
        ATTRIBUTES,
        "in the vendor's own way",
    ),
    _mistake(
        "a 5xx is the fault of an identity",
        ".errors",
        """    Row((403, 404), Outcome.CONNECTION, FEATURE_OFF, FEATURE_OFF_TEXT),""",
        """    Row((403, 404), Outcome.CONNECTION, FEATURE_OFF, FEATURE_OFF_TEXT),
    Row(range(500, 600), Outcome.SPLIT, "refused", "refuses"),""",
        WRITES,
        SEGMENTS,
        "two leave",
    ),
    # What a success looks like.
    _mistake(
        "a page is a success",
        ".errors",
        """    if is_page(reply):
        raise""",
        """    if is_page(reply) and reply.body:
        raise""",
        WRITES,
        SEGMENTS,
        "two leave",
    ),
    _mistake(
        "attributes that cannot be read are not there",
        ".client",
        'records({"attributes": reply.body}, "attributes", apiName=str)',
        'records({"attributes": reply.body}, "attributes") if isinstance(one.get("apiName"), str)',
        SHAPES,
        ATTRIBUTES,
        "one leaves",
    ),
    _mistake(
        "whatever answers is Gainsight PX",
        ".client",
        """    if not isinstance(reply.body, Mapping) or not reply.body.keys() & {"id", "products"}:""",
        """    if reply.status == 0:""",
        test_faults.test_a_check_never_calls_an_account_well_that_answers_nothing_well,
        SEGMENTS,
        "a probe",
    ),
    # Who is meant.
    _mistake(
        "leavers are taken out of today's segment",
        ".segment_mode",
        "            return _Call(client, export, steps,",
        """            today = "segment/" + export.segments[0]
            steps = [
                step if name_in(step.target) in export.segments else Step(today, step.identity, step.joins, step.at)
                for step in steps
            ]
            return _Call(client, export, steps,""",
        EDITED,
    ),
    _mistake(
        "today's attribute is cleared for leavers",
        ".attribute_mode",
        "    values = {name_in(step.target): step.joins for step in steps}",
        """    values = {name_in(step.target): step.joins for step in steps if step.joins} or {"inThree": False}""",
        EDITED,
        ATTRIBUTES,
    ),
    _mistake(
        "a leaver is sent as a joiner",
        ".segment_mode",
        "        groups[step.joins][references",
        "        groups[True][references",
        test_membership.test_who_leaves_is_out_with_all_their_values_and_the_others_stay,
    ),
    _mistake(
        "a leaver's attribute is set",
        ".attribute_mode",
        "    values = {name_in(step.target): step.joins for step in steps}",
        "    values = {name_in(step.target): True for step in steps}",
        test_membership.test_who_leaves_is_out_with_all_their_values_and_the_others_stay,
        ATTRIBUTES,
    ),
    _mistake(
        "all of a user is overwritten",
        ".attribute_mode",
        """"propertyKeys": keys, "customAttributes": values}""",
        """"propertyKeys": [], "customAttributes": values}""",
        test_membership.test_what_else_is_held_of_somebody_stays_as_it_is,
        ATTRIBUTES,
    ),
    _mistake(
        "a time falls",
        ".segment_mode",
        "moments.text(step.at)].append(step.identity)",
        "moments.text(min(one.at for one in steps))].append(step.identity)",
        test_membership.test_each_time_is_sent_as_it_is,
    ),
    _mistake(
        "in and out in one call",
        ".targets",
        "        if not calls or len(calls[-1]) == limit or place in held:",
        "        if not calls or len(calls[-1]) == limit:",
        test_calls.test_calls_cover_every_step_once_and_in_order_and_nobody_is_asked,
    ),
    _mistake(
        "the error of one row hides the others",
        ".segment_mode",
        "        stops.judge_update(self._client,",
        """        if reply.status == 400:
            return dict.fromkeys(range(len(part)), errors.REFUSED_IDENTITY)
        stops.judge_update(self._client,""",
        REFUSED,
        SEGMENTS,
        "with the whole call",
    ),
    # How much.
    _mistake(
        "requests four times too fast",
        ".client",
        'REST = Quota("rest", 180, timedelta(seconds=1), a_day=950_000)',
        'REST = Quota("rest", 720, timedelta(seconds=1), a_day=950_000)',
        LIMITS,
        SEGMENTS,
        "gainsight_px",
    ),
    _mistake(
        "a daily budget above the vendor's",
        ".client",
        "a_day=950_000",
        "a_day=1_000_001",
        LIMITS,
        SEGMENTS,
        "gainsight_px",
    ),
    _mistake(
        "rows beyond the first chunk are lost",
        ".targets",
        "            calls.append([])\n",
        "            calls[1:] = [[]]\n",
        test_calls.test_calls_cover_every_step_once_and_in_order_and_nobody_is_asked,
    ),
    # Texts, and our own limits.
    _mistake(
        "an error text holds the password",
        ".token",
        "result_of(reply, TOKEN_TABLE, _token)",
        "result_of(reply, TOKEN_TABLE, _token, about=lambda _: str(settings.password.get_secret_value()))",
        READS,
        SEGMENTS,
        "one joins",
    ),
    _mistake(
        "an error text repeats what the vendor wrote",
        ".errors",
        """    return word if isinstance(word, str) and _STATUS_WORD.fullmatch(word) else None""",
        """    return str(reply.body)""",
        WRITES,
        SEGMENTS,
        "two leave",
    ),
    _mistake(
        "our own limit is trouble of the vendor's",
        ".segments",
        "            if isinstance(problem, Busy) or",
        "            if",
        test_gainsight_px_conversations.test_a_new_name_of_a_segment_waits_for_room_as_all_else,
    ),
    _mistake(
        "what cannot be noted undoes what was told",
        ".segment_mode",
        "        with part_done():\n",
        "        if self.to_send:\n",
        test_faults.test_our_own_limit_stays_our_own,
        SEGMENTS,
        "one joins",
    ),
    _mistake(
        "a check does not look at the feature",
        ".segment_mode",
        "        found = _feature_findings(client, exports)\n",
        "        found: list[Finding] = []\n",
        test_declarations.test_what_an_export_cannot_work_without_is_told_by_a_check_and_by_delivering,
    ),
    _mistake(
        "a check does not look at attributes",
        ".attribute_mode",
        "        elif states[name] != USABLE:\n            messages",
        "        elif not name:\n            messages",
        test_declarations.test_what_an_export_cannot_work_without_is_told_by_a_check_and_by_delivering,
        ATTRIBUTES,
    ),
)
