"""Why a person was sent, or not: one sentence, then the facts."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from relay.domain.changes import Change, Forget
from relay.domain.merging import merge
from relay.domain.problems import SettingsProblem, Transient
from relay.settings.inventory import Inventory
from relay.settings.names import UnknownExport
from relay.stores import breakers, profiles
from relay.wiring_people import People
from relay.workers.operators.explaining import Explain, Explained, ExportPart
from tests.fakes.bench import CONNECTION, LAPSED, MINUTE, OTHER_CONNECTION, VIP, Bench, person
from tests.fakes.bench_destination import Lost

MAIN, OTHER = f"{CONNECTION}/main", f"{OTHER_CONNECTION}/main"
SECRET = "ada@x.example"


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.inventory = Inventory(sources=["shop", "crm"])
    return bench


def ask(bench: Bench, profile: str, **more: Any) -> Explained:
    return People(bench.stack).explainer.explain(Explain(profile=profile, **more))


def main(bench: Bench, number: int) -> ExportPart:
    """Return what is said of a profile in the export `letters/main`."""
    [part] = ask(bench, person(number), export=MAIN).exports
    return part


def test_a_person_of_whom_nothing_is_stored(bench: Bench) -> None:
    told = ask(bench, "crm:42")
    assert (told.profile, told.exports) == (None, [])
    assert told.sentence == (
        "No profile is stored under this. Nothing was received of it, or another value identifies it. "
        "What identifies a profile (profile_key) by source: crm: identities.crm; shop: identities.crm."
    )
    bench.inventory = Inventory()
    assert "no source" in ask(bench, "crm:42").sentence


@pytest.mark.parametrize(("asked", "near"), [("shp:42", " (the nearest is shop)"), ("email:ann@x.example", "")])
def test_what_is_no_source_and_no_namespace_is_named(bench: Bench, asked: str, near: str) -> None:
    assert ask(bench, asked).sentence == (
        f"No profile is stored under this. There is no source {asked.partition(':')[0]}{near}, and no profile_key "
        "names it as a namespace (crm: identities.crm; shop: identities.crm)."
    )


def test_a_profile_that_no_export_selects(bench: Bench) -> None:
    bench.store(2, inside=("shop/else",), email=SECRET)
    told = ask(bench, person(2))
    assert told.sentence == "The profile is stored. None of the 2 exports selects it."
    assert [(part.export, part.state, part.targets, part.wants) for part in told.exports] == [
        (MAIN, "not selected", [], []),
        (OTHER, "not selected", [], []),
    ]
    assert main(bench, 2).sentence == "Not selected: the profile is in none of the export's segments (shop/vip)."
    assert ask(bench, person(2), export=MAIN).sentence.startswith("The profile is stored. Not selected")


def test_a_delivered_profile(bench: Bench) -> None:
    bench.store(2, email=SECRET, name="Ada")
    bench.full_run()
    told = ask(bench, SECRET)
    assert told.sentence == (
        "letters/main: Delivered: the destination confirmed at 2026-03-01 12:01 UTC "
        "that it holds the profile as it is now."
    )
    assert told.profile is not None
    assert (told.profile.id, told.profile.source, told.profile.version) == (person(2), "shop", 1)
    assert [(one.segment, one.status) for one in told.profile.memberships] == [(VIP, "realized")]
    part = told.exports[0]
    [target] = part.targets
    assert (target.desired, target.matter, target.acknowledged) == ("in", "delivered", "as desired")
    assert (target.since, target.open_until, target.refused) == (bench.clock.now(), None, None)
    attempts = [line for line in bench.logged() if line["message"] == "attempt"]
    assert [line["call"] for line in attempts] == [target.call]
    assert target.call in part.traces
    assert part.last_run is not None
    assert part.last_run.state == "finished"


def test_values_are_shown_on_request_alone(bench: Bench) -> None:
    bench.store(2, email=SECRET, name="Ada")
    bench.full_run()
    hidden = ask(bench, SECRET).model_dump_json()
    assert SECRET not in hidden
    assert "Ada" not in hidden
    shown = ask(bench, SECRET, show_values=True)
    assert shown.profile is not None
    assert shown.profile.attributes == {"email": SECRET, "name": "Ada"}
    assert shown.exports[0].targets[0].identity == SECRET
    assert SECRET not in bench.log.getvalue()


def test_what_was_received_and_not_looked_at_yet_waits(bench: Bench) -> None:
    bench.store(2, email=SECRET)
    assert main(bench, 2).sentence == (
        "Waiting: the destination does not hold the profile as it is now. "
        "A look at it is in the queue. That takes seconds, and longer where the destination's limit is reached."
    )
    bench.full_run()
    bench.store(2, name="Ada")
    part = main(bench, 2)
    assert (part.state, part.targets[0].matter, part.targets[0].acknowledged) == (
        "waiting",
        "not looked at",
        "other values",
    )


def test_an_export_that_does_not_stream_waits_for_its_run(bench: Bench) -> None:
    bench.store(2, inside=(LAPSED,), email=SECRET)
    [part] = ask(bench, person(2), export=OTHER).exports
    assert part.sentence.endswith("The next run does it; this export does not stream.")
    breakers.request_resync(bench.database, OTHER_CONNECTION, "main")
    [part] = ask(bench, person(2), export=OTHER).exports
    assert part.sentence.endswith("A run is requested and starts by itself.")
    run = bench.start(bench.other_export)
    [part] = ask(bench, person(2), export=OTHER).exports
    assert part.sentence.endswith(f"Run {run.id} is under way and comes to it.")


def test_a_mapping_that_finds_no_identity_rejects(bench: Bench) -> None:
    bench.store(2, name="Ada")
    assert main(bench, 2).rejection is not None
    bench.full_run()
    part = main(bench, 2)
    assert part.sentence == (
        "Rejected: the profile has no e-mail (no_email). "
        "It is tried again when the profile or the settings of the export change."
    )
    assert part.rejection is not None
    assert (part.state, part.rejection.code, part.rejection.at) == ("rejected", "no_email", bench.clock.now())


def test_a_refusal_of_the_destination_says_when_it_is_tried_again(bench: Bench) -> None:
    bench.store(2, email=SECRET)
    bench.tool.refuses = {SECRET}
    bench.full_run()
    part = main(bench, 2)
    assert part.sentence == (
        "Rejected: the destination refuses the profile since 2026-03-01 12:01 UTC: "
        "the destination knows nobody of this address (unknown_user). "
        "It is tried again when the profile or the settings change, by a run after 2026-03-02 08:01 UTC, "
        "or by a run that is asked to retry unknown_user."
    )
    [target] = part.targets
    assert target.refused is not None
    assert (target.refused.code, target.not_before) == ("unknown_user", bench.clock.now() + timedelta(hours=20))


def test_of_an_unconfirmed_row_it_says_that_it_is_looked_up() -> None:
    bench = Bench(imports=True)
    bench.store(2, email=SECRET)
    bench.tool.undone = {SECRET}
    bench.full_run()
    assert "never said whether it took the profile (unconfirmed)" in main(bench, 2).sentence


def test_a_duplicate_names_the_profile_that_is_sent(bench: Bench) -> None:
    for number in (2, 4):
        bench.store(number, email=SECRET)
    bench.full_run()
    told = ask(bench, person(4))
    assert told.exports[0].targets[0].duplicate_of == person(2)
    assert told.sentence == (
        f"letters/main: Duplicate: profile {person(2)} has the same identity, and the destination gets the values of "
        "that one. Explain that profile to see where it stands."
    )
    assert ask(bench, SECRET).others == [person(4)]


def test_a_profile_that_was_turned_away_is_a_duplicate(bench: Bench) -> None:
    for number in range(2, 42, 2):
        bench.store(number, email=SECRET)
    bench.full_run()
    assert main(bench, 40).state == "duplicate"


def test_a_call_without_an_answer_is_open_until_its_deadline(bench: Bench) -> None:
    bench.store(2, email=SECRET)
    bench.tool.script = [Lost()]
    bench.consume(bench.look(2))
    part = main(bench, 2)
    [target] = part.targets
    assert (target.matter, part.state) == ("open call", "waiting")
    assert target.open_until is not None
    assert part.sentence.startswith(
        "Waiting: a call was made, and nobody knows yet what the destination did. It is made"
    )
    assert target.call in part.traces

    bench.store(2, name="Ada")
    bench.consume(bench.look(2))
    part = main(bench, 2)
    assert part.targets[0].matter == "earlier call"
    assert part.targets[0].not_before == part.targets[0].open_until
    assert part.sentence.endswith("Then the present values are sent.")


def test_what_a_destination_imports_waits_for_the_import() -> None:
    bench = Bench(imports=True)
    bench.store(2, email=SECRET)
    bench.consume(bench.look(2))
    assert main(bench, 2).targets[0].matter == "importing"
    assert "has queued the profile in an import" in main(bench, 2).sentence


def test_a_call_that_certainly_did_nothing_is_made_again(bench: Bench) -> None:
    bench.store(2, email=SECRET)
    bench.tool.script = [Transient("too_many_requests", "slow down", taken=False)]
    bench.consume(bench.look(2))
    assert main(bench, 2).targets[0].matter == "unsent"


@pytest.mark.parametrize(("stopped", "what"), [(None, "connection"), ("main", "export")])
def test_what_is_stopped_says_why_and_when_it_is_probed(bench: Bench, stopped: str | None, what: str) -> None:
    bench.store(2, email=SECRET)
    bench.stop(stopped)
    said = (
        f"The {what} is stopped since 2026-03-01 12:00 UTC (unpaid: refuses to work). It is probed at 2026-03-01 12:03 "
        "UTC the next time. When a probe passes, one run makes up for everything."
    )
    part = main(bench, 2)
    assert part.sentence.endswith(said)
    assert part.stop is not None
    assert (part.stop.what, part.stop.code, part.stop.actor) == (what, "unpaid", "administrator")


def test_a_delivered_profile_of_a_stopped_connection_says_both(bench: Bench) -> None:
    bench.store(2, email=SECRET)
    bench.full_run()
    bench.stop()
    assert main(bench, 2).sentence.startswith("Delivered")
    assert "The connection is stopped" in main(bench, 2).sentence


def test_a_paused_export_sends_nothing(bench: Bench) -> None:
    bench.store(2, email=SECRET)
    bench.edit(active=False)
    part = main(bench, 2)
    assert part.paused
    assert part.sentence.endswith("The export is paused. When it is active again, one run makes up for everything.")


def test_who_left_and_was_taken_out(bench: Bench) -> None:
    bench.store(2, email=SECRET)
    bench.full_run()
    bench.clock.time += MINUTE
    bench.leave(2)
    assert main(bench, 2).sentence.startswith(
        "Waiting: the profile left the export's segments, and the export has not looked at it since."
    )
    bench.consume(bench.look(2))
    part = main(bench, 2)
    assert (part.state, part.targets[0].acknowledged) == ("not selected", "nothing")
    assert part.sentence == (
        "Not selected: the profile left the export's segments at 2026-03-01 12:02 UTC. "
        "The destination confirmed at 2026-03-01 12:02 UTC that it is out."
    )


def test_whoever_leaves_before_a_run_was_let_through_waits_for_it(bench: Bench) -> None:
    bench.store(2, email=SECRET)
    bench.consume(bench.look(2))
    bench.leave(2)
    assert (
        "Nobody is taken out before a run under the present settings was let through. The next run"
        in main(bench, 2).sentence
    )


def test_a_run_that_needs_confirmation_is_named(bench: Bench) -> None:
    for number in range(2, 10, 2):
        bench.store(number, email=f"{number}@x.example")
    bench.full_run()
    bench.edit(mapping={"email": "attributes.other"})
    run = bench.full_run()
    assert run.state.value == "needs-confirmation"
    said = [main(bench, 2), ask(bench, "4@x.example", export=MAIN).exports[0]]
    for part in said:
        assert part.state == "rejected"
        assert part.targets[0].desired == "out"
    bench.edit(mapping={"email": "attributes.email"}, segments=("shop/none",))
    assert "confirms that its leavers" in main(bench, 2).sentence


def test_who_is_left_out_by_a_condition(bench: Bench) -> None:
    bench.store(2, email=SECRET, plan="pro")
    bench.full_run()
    bench.edit(only_if="attributes.plan == 'free'")
    assert main(bench, 2).sentence.startswith(
        "Waiting: the profile is left out by the export's only_if, and the export has not"
    )
    bench.store(4, email="4@x.example", plan="pro")
    assert main(bench, 4).sentence == "Not selected: the export's only_if is false for the profile."
    bench.edit(only_if="attributes.plan")
    part = main(bench, 2)
    assert (part.state, part.targets) == ("rejected", [])


def test_who_left_an_export_that_keeps_people_is_kept(bench: Bench) -> None:
    bench.tool.keeps = True
    bench.store(2, email=SECRET)
    bench.full_run()
    bench.leave(2)
    assert "taken out" not in main(bench, 2).sentence
    bench.consume(bench.look(2))
    assert main(bench, 2).sentence == (
        "Kept: the profile left the export's segments. "
        "The export takes nobody out, so the destination keeps what it has."
    )


def test_whom_the_destination_does_not_let_go_is_kept(bench: Bench) -> None:
    bench.store(2, email=SECRET)
    bench.full_run()
    bench.tool.refuses = {SECRET}
    bench.leave(2)
    bench.consume(bench.look(2))
    part = main(bench, 2)
    assert part.state == "kept"
    assert "the destination refuses to let it go since" in part.sentence.lower()


def test_who_left_while_another_with_the_same_identity_stays(bench: Bench) -> None:
    for number in (2, 4):
        bench.store(number, email=SECRET)
    bench.full_run()
    bench.leave(4)
    bench.consume(bench.look(4))
    assert main(bench, 4).sentence.endswith(
        f"The destination still holds its identity, because profile {person(2)} has the same."
    )


def test_an_identity_that_changed_leaves_while_the_new_one_joins(bench: Bench) -> None:
    bench.store(2, email="old@x.example")
    bench.full_run()
    bench.store(2, email="new@x.example")
    assert {(one.desired, one.matter) for one in main(bench, 2).targets} == {
        ("in", "not looked at"),
        ("out", "not looked at"),
    }


def test_who_was_turned_away_holds_what_others_leave(bench: Bench) -> None:
    for number in range(2, 42, 2):
        bench.store(number, email=SECRET)
    bench.full_run()
    for number in range(2, 34, 2):
        bench.leave(number)
        bench.consume(bench.look(number))
    assert any("so a run asks them first" in main(bench, number).sentence for number in range(2, 34, 2))


def test_a_profile_that_a_defect_concerns(bench: Bench) -> None:
    bench.store(2, email=SECRET)
    bench.tool.script = [KeyError(SECRET)]
    bench.consume(bench.look(2))
    part = main(bench, 2)
    assert part.state == "set aside"
    assert part.sentence.startswith(
        "A defect of ours was met with the profile at 2026-03-01 12:00 UTC, so it is set aside"
    )
    assert part.set_aside is not None
    assert part.set_aside.error == "KeyError"


def test_a_defect_in_the_working_out_concerns_one_export(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.store(2, inside=(VIP, LAPSED), email=SECRET)
    bench.full_run()
    monkeypatch.setattr(bench.other, "targets", lambda export: 1 / 0)
    told = ask(bench, person(2))
    assert [part.state for part in told.exports] == ["delivered", "unknown"]
    assert told.sentence.startswith("letters/main: Delivered")
    assert "others/main: A defect of ours" in told.sentence


def test_settings_that_cannot_be_used_are_named(bench: Bench) -> None:
    bench.store(2, inside=(LAPSED,), email=SECRET)
    bench.settings.problems[MAIN] = SettingsProblem("mapping", "is missing", field="mapping.email")
    told = ask(bench, person(2))
    [part] = [one for one in told.exports if one.export == MAIN]
    assert (part.state, "mapping.email: is missing" in part.sentence) == ("unknown", True)
    with pytest.raises(SettingsProblem):
        ask(bench, person(2), export=MAIN)
    with pytest.raises(UnknownExport):
        ask(bench, person(2), export="letters/none")


def test_of_several_exports_what_is_well_is_counted_and_what_is_not_is_said(bench: Bench) -> None:
    bench.store(2, inside=(VIP, LAPSED), email=SECRET)
    bench.full_run()
    said = ask(bench, person(2)).sentence
    assert said.startswith("Delivered by letters/main. others/main: Waiting: ")
    bench.full_run(bench.other_export)
    assert ask(bench, person(2)).sentence == (
        "All 2 exports that select the profile have delivered it: letters/main, others/main."
    )


def test_aliases_are_named(bench: Bench) -> None:
    bench.store(2, email=SECRET)
    bench.store(4, email="4@x.example")
    bench.join(4, survivor=2)
    told = ask(bench, person(4))
    assert told.profile is not None
    assert (told.profile.id, told.profile.aliases) == (person(2), [person(4)])


def test_without_exports_it_says_so(bench: Bench) -> None:
    bench.store(2, email=SECRET)
    bench.settings.saved.clear()
    assert ask(bench, person(2)).sentence == "The profile is stored, and there is no export."


def test_who_is_being_taken_out_is_told_until_when() -> None:
    bench = Bench(imports=True)
    bench.store(2, email=SECRET)
    bench.full_run()
    bench.leave(2)
    bench.consume(bench.look(2))
    part = main(bench, 2)
    assert (part.targets[0].desired, part.targets[0].matter) == ("out", "importing")
    assert "It is being taken out. What the destination did is known by" in part.sentence


def test_who_leaves_while_an_earlier_call_is_open_waits_for_it(bench: Bench) -> None:
    bench.store(2, email=SECRET)
    bench.full_run()
    bench.store(2, name="Ada")
    bench.tool.script = [Lost()]
    bench.consume(bench.look(2))
    bench.leave(2)
    bench.consume(bench.look(2))
    part = main(bench, 2)
    assert (part.targets[0].desired, part.targets[0].matter) == ("out", "earlier call")
    assert part.sentence.startswith("Waiting: an earlier call with other values may take effect until")


def test_who_was_forgotten_is_told_and_what_is_still_to_be_taken_out(bench: Bench) -> None:
    bench.store(2, email=SECRET)
    bench.full_run()
    bench.clock.time += MINUTE
    [stored] = profiles.load(bench.database, [person(2)])
    assert stored is not None
    tombstone = merge(stored, Change((person(2),), bench.clock.now(), forget=Forget.HERE)).profile
    profiles.save(bench.database, [tombstone], bench.clock.now())
    told = ask(bench, person(2))
    assert told.sentence.startswith(
        "The person was forgotten at 2026-03-01 12:02 UTC, and nothing is known of it since. "
        "It is still to be taken out. "
        "letters/main: Waiting: the profile was forgotten, and the export has not looked at it since."
    )
    assert told.profile is not None
    assert told.profile.forgotten_at == bench.clock.now()
    bench.consume(bench.look(2))
    told = ask(bench, person(2))
    assert told.profile is not None
    assert told.sentence.endswith("nothing is known of it since. Newer news makes a new person of it.")
    assert told.profile is not None
    assert (told.exports, told.profile.stored_at, told.profile.request) == ([], None, None)
    [of_one] = ask(bench, person(2), export="letters/main").exports
    assert of_one.sentence == "Not selected: the person was forgotten."


def test_all_ids_that_joined_a_profile_are_named(bench: Bench) -> None:
    bench.store(2, email=SECRET)
    [stored] = profiles.load(bench.database, [person(2)])
    assert stored is not None
    profiles.save(bench.database, [replace(stored, joined=frozenset({person(8)}))], bench.clock.now())
    told = ask(bench, person(2))
    assert told.profile is not None
    assert told.profile.aliases == [person(8)]
