"""Mistakes somebody might make in the destination ActiveCampaign, and what of the suite notices each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.contract import (
    test_activecampaign_conversations,
    test_calls,
    test_declarations,
    test_faults,
    test_imports,
    test_limits,
    test_membership,
)
from tests.contract.activecampaign_subject import (
    ActiveCampaignQuietSubject,
    ActiveCampaignSubject,
    ActiveCampaignTaggingSubject,
    ActiveCampaignUnsubscribingSubject,
)
from tests.contract.planting import Mistake
from tests.contract.subject import Subject

IN_BULK = ActiveCampaignSubject
UNSUBSCRIBING = ActiveCampaignUnsubscribingSubject
TAGGING = ActiveCampaignTaggingSubject


def _mistake(
    name: str,
    module: str,
    old: str,
    new: str,
    noticed_by: Callable[..., None],
    kind: type[Subject] = IN_BULK,
    case: str | None = None,
    also: Mapping[str, str] | None = None,
) -> Mistake:
    return Mistake(
        name, f"relay.destinations.activecampaign{module}", {old: new, **(also or {})}, noticed_by, kind, case
    )


WRITES, READS, SHAPES = (
    test_faults.test_a_fault_at_a_request_that_writes,
    test_faults.test_a_fault_at_a_request_that_reads,
    test_faults.test_json_of_another_shape,
)
DELETED = test_membership.test_whoever_leaves_what_was_deleted_has_left_it
EDITED = test_membership.test_after_an_edit_whoever_leaves_is_taken_off_what_they_were_put_on
LIMITS = test_limits.test_the_vendor_never_has_to_refuse
REFUSED = test_calls.test_refused_rows_are_found_wherever_they_are_and_hide_nobody

MISTAKES = (
    # What is certain.
    _mistake(
        "a partial write is told as not taken",
        ".contacts",
        "        with part_done(ANSWERED):\n            if known",
        "        if True:\n            if known",
        WRITES,
        UNSUBSCRIBING,
        "one joins",
    ),
    _mistake(
        "a 500 is certain",
        ".errors",
        '"unavailable", text, effect_within=effect_within)',
        '"unavailable", text, effect_within=effect_within, taken=False)',
        WRITES,
        IN_BULK,
        "one joins",
    ),
    _mistake(
        "what a proxy answers is ActiveCampaign's word",
        ".errors",
        "ANSWERS_ITSELF = (500, 503)",
        "ANSWERS_ITSELF = (500, 502, 503, 504, 520)",
        WRITES,
        UNSUBSCRIBING,
        "one leaves",
    ),
    _mistake(
        "an import that was answered with 500 can come to nothing any more",
        ".errors",
        "    _trouble(ANSWERED_IMPORT),",
        "    _trouble(timedelta()),",
        WRITES,
        IN_BULK,
        "two join",
    ),
    _mistake(
        "trouble with making a tag is trouble with the contact",
        ".client",
        "        with nothing_done():\n            return self._write(",
        "        if tag:\n            return self._write(",
        WRITES,
        TAGGING,
        "one joins",
    ),
    _mistake(
        "whoever leaves a list that was deleted stops the export",
        ".contacts",
        "        if client.why_no_list(list_id) != GONE:\n            raise",
        "        if client:\n            raise",
        DELETED,
        ActiveCampaignUnsubscribingSubject,
    ),
    _mistake(
        "whoever leaves a list that was deleted is refused by the import",
        ".look_ups",
        "return not step.joins and self._client.why_no_list(name_in(step.target)) == GONE",
        "return False",
        DELETED,
        ActiveCampaignQuietSubject,
    ),
    _mistake(
        "a 400 is taken for success by one who leaves",
        ".contacts",
        "    except Refused:\n        return _refused(MALFORMED)\n    return DONE",
        "    except Refused:\n        return DONE\n    return DONE",
        WRITES,
        IN_BULK,
        "one leaves",
    ),
    _mistake(
        "a 400 is taken for success by one who joins",
        ".contacts",
        "    except (ReadRefused, Refused):\n        # Its",
        "    except Refused:\n        return DONE\n    except ReadRefused:\n        # Its",
        WRITES,
        UNSUBSCRIBING,
        "one joins",
    ),
    _mistake(
        "what was written before a refusal is denied",
        ".contacts",
        "        return _refused(UNCONFIRMED)",
        "        return _refused(MALFORMED)",
        WRITES,
        UNSUBSCRIBING,
        "one joins",
    ),
    # What a success looks like.
    _mistake(
        "an import without its id is one",
        ".client",
        '    import_id = part(reply.body, "batchId", str)',
        '    import_id = str(reply.body.get("batchId")) if isinstance(reply.body, dict) else "none"',
        SHAPES,
        IN_BULK,
        "two join",
        {'_count(reply.body.get("queued_contacts"))': "None"},
    ),
    _mistake(
        "a list entry that is not shown was written",
        ".client",
        '    return _list_entry(part(reply.body, "contactList", dict))',
        """    return _list_entry({"status": 2})""",
        SHAPES,
        UNSUBSCRIBING,
        "one leaves",
    ),
    _mistake(
        "a tag that is not shown was put on",
        ".client",
        'lambda reply: part(reply.body, "contactTag", dict)',
        "some_json",
        SHAPES,
        TAGGING,
        "one joins",
    ),
    _mistake(
        "a page is a success where something is deleted",
        ".client",
        '_path("contactTags", association_id), nothing, table',
        '_path("contactTags", association_id), lambda reply: None, table',
        WRITES,
        TAGGING,
        "one leaves",
    ),
    # Who is meant.
    _mistake(
        "leavers are taken off today's list",
        ".contacts",
        "            return _unsubscribe(client, known, step)",
        "            return _unsubscribe(client, known, replace(step, target=list_target(options.list_id)))",
        EDITED,
        UNSUBSCRIBING,
    ),
    _mistake(
        "leavers are taken off today's list in bulk",
        ".rows",
        """        row["unsubscribe"] = [{"listid": int(name_in(step.target))}]""",
        """        row["unsubscribe"] = [{"listid": int(options.list_id)}]""",
        EDITED,
        ActiveCampaignQuietSubject,
    ),
    _mistake(
        "today's tag is taken off leavers",
        ".contacts",
        "Tags(client, account.notes).remove(known, name_in(step.target))",
        "Tags(client, account.notes).remove(known, options.tag or name_in(step.target))",
        EDITED,
        TAGGING,
    ),
    _mistake(
        "today's field is set for leavers",
        ".rows",
        """        values[f"fields.{name_in(step.target)}"] = options.value_out""",
        """        values[f"fields.{options.exit_field}"] = options.value_out""",
        EDITED,
    ),
    _mistake(
        "a leaver is sent as a joiner",
        ".rows",
        "    if step.joins:\n        row",
        "    if step.joins or step.target:\n        row",
        test_membership.test_who_leaves_is_out_with_all_their_values_and_the_others_stay,
        ActiveCampaignQuietSubject,
    ),
    _mistake(
        "evidence is dropped",
        ".contacts",
        "    return Answer(evidence={0: evidence_of(left, entry.elsewhere)}) if left.status",
        "    return DONE if left.status",
        test_membership.test_who_left_comes_back_again_and_again,
        UNSUBSCRIBING,
    ),
    _mistake(
        "evidence is dropped when leaving is sent twice",
        ".contacts",
        "            return Answer(evidence={0: step.evidence})",
        "            return DONE",
        test_membership.test_who_left_comes_back_again_and_again,
        UNSUBSCRIBING,
    ),
    _mistake(
        "empty values are sent",
        ".rows",
        "    values = dict(step.values)",
        """    values = {"phone": "", **step.values}""",
        test_membership.test_nothing_empty_is_ever_sent,
    ),
    _mistake(
        "values go under names that imports drop",
        ".rows",
        '{"email": self.email, **self.names}',
        '{"email": self.email, **{SYNC_NAMES[name]: value for name, value in self.names.items()}}',
        test_membership.test_who_joins_is_in_with_their_values,
    ),
    # How much.
    _mistake(
        "requests four times too fast",
        ".client",
        'REST = Quota("rest", 4, timedelta(seconds=1))',
        'REST = Quota("rest", 16, timedelta(seconds=1))',
        LIMITS,
        IN_BULK,
        "activecampaign",
    ),
    _mistake(
        "imports four times too fast",
        ".client",
        'BULK = Quota("bulk", 97, timedelta(minutes=1))',
        'BULK = Quota("bulk", 388, timedelta(minutes=1))',
        LIMITS,
        IN_BULK,
        "activecampaign",
    ),
    _mistake(
        "imports of one contact a little too fast",
        ".client",
        'BULK_SINGLE = Quota("bulk-single", 19, timedelta(minutes=1))',
        'BULK_SINGLE = Quota("bulk-single", 21, timedelta(minutes=1))',
        LIMITS,
        IN_BULK,
        "activecampaign",
    ),
    _mistake(
        "imports larger than ActiveCampaign takes",
        "",
        "MAX_BODY_BYTES = 399_999",
        "MAX_BODY_BYTES = 4_000_000",
        test_calls.test_a_full_call_and_more_is_taken_at_once,
    ),
    # Imports.
    _mistake(
        "what is queued is done",
        ".imports",
        """        if status is None and (is_young if state is None else not is_over):
            return None""",
        "        if state is None and is_young:\n            return None",
        test_imports.test_what_was_queued_is_not_done_and_an_early_look_says_so,
    ),
    _mistake(
        "whom an import refused is done",
        ".imports",
        "    named = [index for index in everybody if steps[index].identity in ending.failed]",
        "    named: list[int] = []",
        REFUSED,
        IN_BULK,
        "in the vendor's own way",
    ),
    _mistake(
        "who is not looked up at once is done",
        ".imports",
        "    left += [*named[EXPLAINED_AT_ONCE:], *doubtful[LOOKED_UP_AT_ONCE:]]",
        "    left += [*doubtful[LOOKED_UP_AT_ONCE:]]",
        test_imports.test_however_small_the_parts_of_a_look_are_the_same_comes_of_it,
    ),
    _mistake(
        "who could not be asked about in time is done",
        ".imports",
        "        if not is_time_left():\n            return rest",
        "        if not is_time_left():\n            return []",
        test_imports.test_however_small_the_parts_of_a_look_are_the_same_comes_of_it,
    ),
    _mistake(
        "trouble in the middle of a look ends it",
        ".imports",
        "                raise\n            return rest",
        "                raise\n            return []",
        test_imports.test_looks_that_fail_at_any_request_lose_nobody,
    ),
    _mistake(
        "all that was sent was queued",
        "",
        "            queued=None if not queued or None in counts else sum(count or 0 for count in counts),",
        "            queued=len(fitting),",
        test_activecampaign_conversations.test_whoever_an_import_leaves_out_is_found_whatever_the_account_tells,
        IN_BULK,
        "queue",
    ),
    _mistake(
        "one bad row hides the others",
        ".client",
        "dict.fromkeys(_named_rows(refused.reply, sent), MALFORMED)",
        "dict.fromkeys(range(sent), MALFORMED)",
        REFUSED,
        IN_BULK,
        "with the whole call",
    ),
    _mistake(
        "an overview that is empty now was empty before",
        ".overview",
        "    past = [moment for moment in seen if now - moment >= ENDING]",
        "    past = [moment for moment in seen if now - moment >= ENDING] or [now + UNDER_WAY]",
        test_imports.test_what_is_said_to_be_over_lies_back_and_is_only_asked_for,
    ),
    # Texts, and our own limits.
    _mistake(
        "an error text holds the key",
        ".client",
        'what = "api_host does not answer as ActiveCampaign does: check it"',
        'what = f"api_host does not answer to {self._api.headers}: check it"',
        test_faults.test_a_check_never_calls_an_account_well_that_answers_nothing_well,
        IN_BULK,
        "a probe",
    ),
    _mistake(
        "our own limit is an answer",
        ".client",
        "        except Busy:\n            raise\n",
        "",
        test_faults.test_our_own_limit_while_something_is_asked_stays_our_own,
        IN_BULK,
        "a check",
    ),
    _mistake(
        "a check does not look at the list",
        ".checks",
        "        found.append(_list_finding(client, export))\n",
        "",
        test_declarations.test_what_an_export_cannot_work_without_is_told_by_a_check_and_by_delivering,
    ),
)
