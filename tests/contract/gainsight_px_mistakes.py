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
        ".membership",
        """            reply = self._client.call("POST", UPDATE, json=body)""",
        """            with nothing_done():
                reply = self._client.call("POST", UPDATE, json=body)""",
        WRITES,
        SEGMENTS,
        "two join",
    ),
    _mistake(
        "whatever becomes of a user nothing was done",
        ".users",
        """    reply = client.call("PUT", USERS_UPDATE, json=body)
    if reply""",
        """    with nothing_done():
        reply = client.call("PUT", USERS_UPDATE, json=body)
    if reply""",
        WRITES,
        ATTRIBUTES,
        "one leaves",
    ),
    _mistake(
        "making a segment may have told memberships",
        ".membership",
        """        with nothing_done():
            targets = sorted""",
        """        if self._steps:
            targets = sorted""",
        WRITES,
        SEGMENTS,
        "one joins",
    ),
    _mistake(
        "a 400 is taken for success",
        ".errors",
        "    return reply.status in SUCCESS and not is_page(reply)",
        "    return reply.status in (400, *SUCCESS) and not is_page(reply)",
        WRITES,
        SEGMENTS,
        "one joins",
    ),
    _mistake(
        "a 404 is taken for success",
        ".users",
        "if rejection is not UNKNOWN_USER or steps[index].joins}",
        "if rejection is not UNKNOWN_USER}",
        REFUSED,
        ATTRIBUTES,
        "in the vendor's own way",
    ),
    _mistake(
        "a 5xx is the fault of an identity",
        ".errors",
        """        "attributes; otherwise check region, the key's permission and segment_ref",
    ),
    *DEFAULT_TABLE,""",
        """        "attributes; otherwise check region, the key's permission and segment_ref",
    ),
    Row(range(500, 600), Outcome.SPLIT, "refused", "refuses"),
    *DEFAULT_TABLE,""",
        WRITES,
        SEGMENTS,
        "two leave",
    ),
    # What a success looks like.
    _mistake(
        "a page is a success",
        ".errors",
        "    return reply.status in SUCCESS and not is_page(reply)",
        "    return reply.status in SUCCESS",
        WRITES,
        SEGMENTS,
        "two leave",
    ),
    _mistake(
        "attributes that cannot be read are not there",
        ".attributes",
        "    if not isinstance(listed, list) or not all(isinstance(one, Mapping) and _is_named(one) for one in listed)",
        """    listed = [one for one in listed if isinstance(one, Mapping) and _is_named(one)]
    if not isinstance(listed, list)""",
        SHAPES,
        ATTRIBUTES,
        "one leaves",
    ),
    _mistake(
        "whatever answers is Gainsight PX",
        ".errors",
        """not (isinstance(reply.body, Mapping) and reply.body.keys() & {"id", "products"}),""",
        "False,",
        test_faults.test_a_check_never_calls_an_account_well_that_answers_nothing_well,
        SEGMENTS,
        "a probe",
    ),
    # Who is meant.
    _mistake(
        "leavers are taken out of today's segment",
        ".membership",
        "            return {target: self._segments.reference(name_in(target)) for target in targets}",
        """            ours = [name_in(target) for target in targets if name_in(target) in self._export.segments]
            today = [*ours, *self._export.segments][0]
            return {
                target: self._segments.reference(name_in(target) if name_in(target) in ours else today)
                for target in targets
            }""",
        EDITED,
    ),
    _mistake(
        "today's attribute is cleared for leavers",
        ".users",
        "    values = {name_in(step.target): step.joins for step in steps}",
        """    values = {name_in(step.target): step.joins for step in steps if step.joins} or {"inThree": False}""",
        EDITED,
        ATTRIBUTES,
    ),
    _mistake(
        "a leaver is sent as a joiner",
        ".membership",
        "        groups[step.joins][references",
        "        groups[True][references",
        test_membership.test_who_leaves_is_out_with_all_their_values_and_the_others_stay,
    ),
    _mistake(
        "a leaver's attribute is set",
        ".users",
        "    values = {name_in(step.target): step.joins for step in steps}",
        "    values = {name_in(step.target): True for step in steps}",
        test_membership.test_who_leaves_is_out_with_all_their_values_and_the_others_stay,
        ATTRIBUTES,
    ),
    _mistake(
        "all of a user is overwritten",
        ".users",
        """"propertyKeys": keys, "customAttributes": values}""",
        """"propertyKeys": [], "customAttributes": values}""",
        test_membership.test_what_else_is_held_of_somebody_stays_as_it_is,
        ATTRIBUTES,
    ),
    _mistake(
        "a time falls",
        ".membership",
        "moments.text(step.at)].append(step.identity)",
        "moments.text(min(one.at for one in steps))].append(step.identity)",
        test_membership.test_each_time_is_sent_as_it_is,
    ),
    _mistake(
        "in and out in one call",
        ".targets",
        "        if not call or is_full or place in held:",
        "        if not call or is_full:",
        test_calls.test_calls_cover_every_step_once_and_in_order_and_nobody_is_asked,
    ),
    _mistake(
        "the error of one row hides the others",
        ".membership",
        "        raise blame.refusal_noted(self._client, door, reply)",
        "        blame.refusal_noted(self._client, door, reply)\n        return dict.fromkeys(part, REFUSED_IDENTITY)",
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
        "            calls.append(call)\n        call.append(index)",
        "            calls[1:] = [call]\n        call.append(index)",
        test_calls.test_calls_cover_every_step_once_and_in_order_and_nobody_is_asked,
    ),
    # Texts, and our own limits.
    _mistake(
        "an error text holds the password",
        ".token",
        "        raise_for(reply, TOKEN_TABLE)",
        "        raise_for(reply, TOKEN_TABLE, word=lambda _: str(settings.password.get_secret_value()))",
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
        "            if isinstance(problem, Busy) or problem.taken is False or problem.retry_after is not None:",
        "            if problem.taken is None and problem.retry_after is not None:",
        test_gainsight_px_conversations.test_a_new_name_of_a_segment_waits_for_room_as_all_else,
    ),
    _mistake(
        "what cannot be noted undoes what was told",
        ".membership",
        "        with part_done():\n            self._identity_type.keep()",
        "        if self._identity_type:\n            self._identity_type.keep()",
        test_faults.test_our_own_limit_stays_our_own,
        SEGMENTS,
        "one joins",
    ),
    _mistake(
        "a check does not look at the feature",
        ".checks",
        "        found += _feature_findings(client, by_segments)\n",
        "",
        test_declarations.test_what_an_export_cannot_work_without_is_told_by_a_check_and_by_delivering,
    ),
    _mistake(
        "a check does not look at attributes",
        ".checks",
        "        elif state[name] != attributes.USABLE:",
        "        elif not name:",
        test_declarations.test_what_an_export_cannot_work_without_is_told_by_a_check_and_by_delivering,
        ATTRIBUTES,
    ),
)
