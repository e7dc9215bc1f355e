"""The main job on this machine, step by step, checked against what the destinations hold.

python -m local.demo [--keep] [--json] [--profiles N]
"""

from __future__ import annotations

import argparse
import json
import math
import secrets
import signal
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from local.people import (
    CUSTOMERS,
    POWER,
    SEGMENT_NAMES,
    TRIAL,
    Visitor,
    bad_customers,
    customers,
    first_visitors,
    in_requests,
    later_visitors,
    members,
)
from local.processes import LocalStackError, wait_for
from local.roles import (
    Administrator,
    Operator,
    Platform,
    SandboxControl,
    milliseconds_since,
    new_secret,
    new_signing_key,
)
from local.screen import Screen
from local.stack import PACE_SCALE, LocalStack, local_stack, running, up

PICTURE = """
 Adobe Experience Platform --.                                        .--> Gainsight PX
   (webhooks, bearer token)   \\                                      /      (external segments)
                               POST /webhooks --> ingest --> route --
   (webhooks, signed)         /                      profiles        \\
 shop's own system ----------'      EventBridge schedule --> run -----'--> ActiveCampaign
                                                                           (contacts of a list)"""

ADOBE_PER_CALL = 10
"""Adobe's HTTP API destination sends up to ten profiles at once."""
CUSTOMERS_PER_CALL = 500
IMPORT_SIZE = 250
SHARDS = 4
"""Each of a run's shards may end with a smaller import."""
MEDIAN_MS, SLOWEST_MS = 1000, 2000
"""What an Adobe-shaped webhook may take on any machine: the slowest is the strictest sender's limit."""
FILLED_SECONDS, STREAMED_SECONDS = 30, 15
"""How long after the first webhook a new export, and one that streams, may take to be right."""
LOOK_EVERY = 0.5
"""Seconds between looks that cost the machine something."""


@dataclass(frozen=True)
class Row:
    """A line of the table at the end; None where a column says nothing of it."""

    what: str
    accepted: int | None = None
    delivered: int | None = None
    unchanged: int | None = None
    rejected: int | None = None
    api_calls: int | None = None


class Demo:
    """The steps, in order; each says what it does and checks what came of it."""

    def __init__(self, stack: LocalStack, screen: Screen, *, profiles: int, fresh: bool) -> None:
        self._screen = screen
        self._administrator = Administrator(stack)
        self._operator = Operator(stack)
        self._px = SandboxControl(stack.sandboxes["gainsight_px"]["url"])
        self._campaign = SandboxControl(stack.sandboxes["activecampaign"]["url"])
        # On a stack that was used before, names of our own keep what is there out of the way.
        mark = "" if fresh else f"-{secrets.token_hex(2)}"
        self._adobe = Platform(stack, f"aep{mark}", new_secret())
        self._shop = Platform(stack, f"shop{mark}", new_signing_key())
        self._px_export = f"product{mark}/segments"
        self._list_export = f"newsletter{mark}/customers"
        self._list_id = str(max(map(int, self._campaign.state()["lists"])) + (0 if fresh else 1))
        self._customers = customers(profiles)
        self._bad_customers = bad_customers(profiles)
        self._counts: dict[str, Mapping[str, int]] = {}
        """Of the last run on demand, by export."""
        self.rows: list[Row] = []

    def run(self) -> None:
        """Tell the whole story."""
        self._set_up()
        self._stream()
        self._fill_the_store()
        self._scheduled_run()
        self._same_again()
        self._rejections()
        self._limits()

    def _set_up(self) -> None:
        screen = self._screen
        screen.title("Setting up as an administrator: Secrets Manager, SSM, EventBridge")
        source, key = self._adobe.source, self._px_export
        self._campaign.change(
            lists={**self._campaign.state()["lists"], self._list_id: "Newsletter"}, fields={"1": "text"}
        )
        self._administrator.put_source(
            source, dialect="adobe-http", auth="bearer", secret=self._adobe.secret, profile_key="identityMap.ECID"
        )
        self._administrator.put_source(
            self._shop.source,
            dialect="relay-json",
            auth="standard-webhooks",
            secret=self._shop.secret,
            profile_key="identities.crm_id",
        )
        screen.say(f"sources      {source} (Adobe, bearer token), {self._shop.source} (our JSON, signed)")
        self._administrator.put_connection(
            _connection_of(key),
            "gainsight_px",
            region="us",
            username="sandbox@example.com",
            password="sandbox-password",
            client_id="sandbox-subscription",
            client_secret="sandbox-client-secret",
            token_url=f"{self._px.url}/oauth/token",
        )
        self._administrator.put_connection(
            _connection_of(self._list_export),
            "activecampaign",
            api_host="sandbox.api-us1.com",
            api_key="sandbox-api-key",
        )
        screen.say(
            f"connections  {_connection_of(key)} (Gainsight PX, OAuth), "
            f"{_connection_of(self._list_export)} (ActiveCampaign)"
        )
        self._administrator.put_export(
            key,
            segments=[f"{source}/{segment}" for segment in SEGMENT_NAMES],
            mapping={"IDENTIFY_ID": "identities.crmId"},
            options={"segment_names": {f"{source}/{segment}": name for segment, name in SEGMENT_NAMES.items()}},
        )
        self._administrator.put_export(
            self._list_export,
            segments=[f"{self._shop.source}/{CUSTOMERS}"],
            mapping={
                "email": "identities.email",
                "first_name": "attributes.first_name",
                "last_name": "attributes.last_name",
                "phone": "attributes.phone",
                "fields.1": "attributes.tier",
            },
            options={"list_id": self._list_id},
        )
        self._administrator.schedule(self._list_export, "rate(1 minute)")
        screen.say(f"exports      {key} (streams), {self._list_export} (scheduled: rate(1 minute))")
        self._administrator.wait_until_seen()

    def _stream(self) -> None:
        screen = self._screen
        screen.title("1. Streaming segment export: Adobe --> Gainsight PX")
        first = first_visitors()
        later = later_visitors(first)
        before = self._px.counters()
        began = time.monotonic()
        self._post_visitors(first)
        self._drained("changesQueue")
        # The clock does this within a minute; an operator may do it now.
        self._administrator.wait_until_runs_start()
        self._operator.tick()
        screen.say("a new streaming export gets a first full run (the tick, invoked instead of waited for)")
        self._segments_become("everyone who is in, and nobody else", members(first), began, FILLED_SECONDS)
        self._over(self._px_export)
        filled = self._px.counters()
        self._note_px(f"Gainsight PX   {len(first)} profiles", len(first), before, filled)

        began = time.monotonic()
        self._post_visitors(later)
        expected = members([*first, *later])
        news = "news of the hour after: the new are in, those who left are gone"
        self._segments_become(news, expected, began, STREAMED_SECONDS)
        self._drained("changesQueue", "gainsightpxQueue")
        streamed = self._px.counters()
        self._note_px(f"Gainsight PX   {len(later)} changes", len(later), filled, streamed)

        screen.say("the first messages once more, as a platform may repeat them, late and out of order:")
        self._post_visitors(first)
        self._drained("changesQueue", "gainsightpxQueue")
        again = self._px.counters()
        screen.check(
            "no call at all, the newest qualification still counts",
            again["calls"] == streamed["calls"] and self._segments() == expected,
            f"{again['calls'] - streamed['calls']} calls",
        )
        self._note_px("Gainsight PX   the same again", len(first), streamed, again)
        screen.check("no time sent to Gainsight PX ever went backwards", again["times_backwards"] == 0)

    def _post_visitors(self, visitors: Sequence[Visitor]) -> None:
        profiles = [visitor.profile() for visitor in visitors]
        bodies = [{"profiles": part} for part in in_requests(profiles, ADOBE_PER_CALL)]
        times = self._post(self._adobe, bodies, len(profiles))
        self._screen.check(
            f"answered in time: median below {MEDIAN_MS} ms, slowest below {SLOWEST_MS} ms",
            statistics.median(times) < MEDIAN_MS and max(times) < SLOWEST_MS,
        )

    def _post(self, platform: Platform, bodies: Sequence[Mapping[str, Any]], profiles: int) -> list[float]:
        """Post bodies one by one, check the answers, and return how many milliseconds each took."""
        times, statuses, accepted = [], set(), 0
        for body in bodies:
            began = time.perf_counter()
            answer = platform.post(body)
            times.append(milliseconds_since(began))
            statuses.add(answer.status_code)
            accepted += answer.json().get("accepted", 0) if answer.status_code == 202 else 0
        self._screen.check(
            f"{len(bodies)} webhooks with {profiles} profiles: 202, median {statistics.median(times):.0f} ms, "
            f"slowest {max(times):.0f} ms",
            statuses == {202} and accepted == profiles,
            f"{sorted(statuses)}, {accepted} accepted",
        )
        return times

    def _segments(self) -> dict[str, set[str]]:
        held = {found["externalId"]: set(found["members"]) for found in self._px.state()["segments"]}
        return {segment: held.get(f"{self._adobe.source}/{segment}", set()) for segment in (TRIAL, POWER)}

    def _segments_become(self, claim: str, expected: Mapping[str, set[str]], began: float, within: float) -> None:
        def as_expected() -> bool | None:
            return True if self._segments() == expected else None

        _waited(as_expected, "the segments at Gainsight PX", 60, every=0.1)
        held = self._segments()
        seconds = time.monotonic() - began
        counted = ", ".join(f'"{name}" {len(held[segment])} of {len(expected[segment])}' for segment, name in _names())
        self._screen.check(
            f"{claim}: {counted} IDENTIFY_IDs after {seconds:.1f} s",
            held == expected and seconds <= within,
            f"not right within {within:.0f} s",
        )

    def _note_px(self, what: str, accepted: int, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        sent = after["identities_told"] - before["identities_told"]
        self.rows.append(Row(what, accepted=accepted, delivered=sent, api_calls=after["calls"] - before["calls"]))

    def _fill_the_store(self) -> None:
        everyone = [*self._customers, *self._bad_customers]
        self._screen.title(f"2. Full-segment export of {len(self._customers):,} profiles: --> ActiveCampaign")
        bodies = [{"changes": part} for part in in_requests([one.change() for one in everyone], CUSTOMERS_PER_CALL)]
        self._post(self._shop, bodies, len(everyone))
        began = time.monotonic()
        self._drained("changesQueue")
        self._screen.say(f"all of them in the profile store {time.monotonic() - began:.1f} s later")

    def _scheduled_run(self) -> None:
        screen = self._screen
        screen.say("waiting for the EventBridge schedule, a minute after it was made")
        before = self._campaign.counters()
        wait_for("a run fired by the schedule", 150, self._scheduled, every=LOOK_EVERY)
        screen.say("fired; the run reads the segment and imports it, page by page")
        run = wait_for("the end of the run", 180, self._scheduled_in_full, every=LOOK_EVERY)
        counts, after = run["counts"], self._campaign.counters()
        expected: dict[str | None, tuple[str, str, str, str]] = {one.email: one.contact for one in self._customers}
        held = self._contacts()
        wrong = [email for email in expected.keys() & held.keys() if expected[email] != held[email]]
        screen.check(
            f"list {self._list_id} holds exactly the {len(expected):,} contacts",
            held.keys() == expected.keys(),
            f"{len(expected.keys() - held.keys())} missing, {len(held.keys() - expected.keys())} too many",
        )
        screen.check("each with first name, last name, phone and custom field", not wrong, f"{len(wrong)} differ")
        self._check_imports(before, after)
        screen.check(
            f"run {run['run']} ({run['cause']}): {counts.get('delivered', 0):,} delivered, "
            f"{counts.get('rejected', 0)} rejected of {counts.get('selected', 0):,}; its ledger adds up",
            counts.get("delivered", 0) == len(expected) and run["adds_up"] and run["cause"] == "schedule",
        )
        self._note_run("ActiveCampaign schedule", counts, before, after, accepted=counts["selected"])

    def _check_imports(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        imports = self._campaign.state()["imports"][before["imports"] :]
        sizes = [one["contacts"] for one in imports]
        full = sum(size == IMPORT_SIZE for size in sizes)
        rest = ", ".join(str(size) for size in sizes if size != IMPORT_SIZE)
        self._screen.check(
            f"{len(sizes)} bulk imports: {full} of {IMPORT_SIZE} contacts, and the ends of {SHARDS} shards ({rest})",
            len(sizes) <= math.ceil(len(self._customers) / IMPORT_SIZE) + SHARDS and max(sizes) <= IMPORT_SIZE,
        )
        looks = _calls(after, "GET /api/3/import/info") - _calls(before, "GET /api/3/import/info")
        self._screen.check(
            f"each import verified: {looks} looks, {sum(one['status'] == 'completed' for one in imports)} completed",
            looks >= len(imports) and all(one["status"] == "completed" for one in imports),
        )

    def _scheduled(self) -> dict[str, Any] | None:
        started = (run for run in self._operator.runs(self._list_export) if run["state"] != "refused")
        return next(started, None)

    def _scheduled_in_full(self) -> dict[str, Any] | None:
        """Return the run that brought the last of them: on a slow machine the schedule fires before all are stored."""
        runs = [run for run in self._operator.runs(self._list_export) if run["state"] != "refused"]
        over = all(run["state"] == "finished" for run in runs)
        everyone = len(self._customers) + len(self._bad_customers)
        full = [run for run in runs if run["counts"].get("selected") == everyone]
        return full[-1] if over and full else None

    def _contacts(self) -> dict[str | None, tuple[str, str, str, str]]:
        return {
            contact["email"]: (contact["firstName"], contact["lastName"], contact["phone"], contact["fields"].get("1"))
            for contact in self._campaign.state()["contacts"]
            if contact["lists"].get(self._list_id, {}).get("status") == 1
        }

    def _same_again(self) -> None:
        screen = self._screen
        screen.title("3. The same export again, on demand")
        before = self._campaign.counters()
        began = time.monotonic()
        run = self._on_demand(self._list_export)
        after = self._campaign.counters()
        counts = run["counts"]
        screen.check(
            f"no write call: {counts.get('unchanged', 0):,} unchanged, found out in {time.monotonic() - began:.1f} s",
            after["write_calls"] == before["write_calls"] and counts.get("unchanged") == len(self._customers),
            f"{after['write_calls'] - before['write_calls']} write calls",
        )
        self._note_run("ActiveCampaign on demand", counts, before, after)
        before = self._px.counters()
        counts = self._on_demand(self._px_export)["counts"]
        after = self._px.counters()
        screen.check(
            f"no write call at Gainsight PX either: {counts.get('unchanged', 0)} unchanged",
            after["write_calls"] == before["write_calls"] and not counts.get("delivered"),
        )
        self._note_run("Gainsight PX   on demand", counts, before, after)

    def _on_demand(self, key: str) -> dict[str, Any]:
        def started() -> dict[str, Any] | None:
            answer = self._operator.start(key)
            return answer if answer["run"] is not None else None

        run = wait_for("a run of our own, after one that is active", 60, started, every=LOOK_EVERY)["run"]

        def ended() -> dict[str, Any] | None:
            shown = self._operator.show(run)
            return shown if shown["state"] != "running" else None

        over = wait_for("the end of the run", 90, ended, every=LOOK_EVERY)
        self._counts[key] = over["counts"]
        return over

    def _rejections(self) -> None:
        screen = self._screen
        screen.title("4. Bad profiles are reported, not dropped")
        nameless = sum(not visitor.known for visitor in first_visitors())
        expected = {
            self._list_export: {
                "no_email": sum(one.email is None for one in self._bad_customers),
                "malformed_email": sum(one.email is not None for one in self._bad_customers),
            },
            self._px_export: {"no_identity": nameless},
        }
        words = {
            "no_email": "sent without an e-mail address",
            "malformed_email": "sent with a malformed e-mail address",
            "no_identity": "sent without an IDENTIFY_ID",
        }
        for key, reasons in expected.items():
            counts = self._counts[key]
            for code, sent in reasons.items():
                found = counts.get(f"rejected:{code}", 0)
                screen.check(f"{key}: {found} rejected as {code} ({sent} {words[code]})", found == sent)
            others = counts.get("rejected", 0) - sum(reasons.values())
            screen.check(f"{key}: nobody else rejected", others == 0, str(others))

    def _limits(self) -> None:
        screen = self._screen
        screen.title(f"Rate limits, enforced by both sandboxes (a minute of them passes in {60 / PACE_SCALE:.0f} s)")
        for name, sandbox in (("Gainsight PX", self._px), ("ActiveCampaign", self._campaign)):
            counters = sandbox.counters()
            screen.check(
                f"{name}: {counters['calls']} calls, {counters['limit_violations']} over the limit",
                counters["limit_violations"] == 0,
            )

    def show_table(self) -> None:
        """Show what became of everything."""
        self._screen.title("What became of it")
        shown = [
            ["" if value is None else f"{value:,}" for value in list(asdict(row).values())[1:]] for row in self.rows
        ]
        self._screen.table(
            ("destination, run", "accepted", "delivered", "unchanged", "rejected", "API calls"),
            [[row.what, *cells] for row, cells in zip(self.rows, shown, strict=True)],
        )

    def _note_run(
        self,
        what: str,
        counts: Mapping[str, int],
        before: Mapping[str, Any],
        after: Mapping[str, Any],
        *,
        accepted: int | None = None,
    ) -> None:
        columns = {name: counts.get(name, 0) for name in ("delivered", "unchanged", "rejected")}
        self.rows.append(Row(what, accepted=accepted, api_calls=after["calls"] - before["calls"], **columns))

    def _over(self, key: str) -> None:
        def ended() -> bool | None:
            return True if all(run["state"] != "running" for run in self._operator.runs(key)) else None

        wait_for(f"the end of the runs of {key}", 60, ended, every=LOOK_EVERY)

    def _drained(self, *queues: str) -> None:
        def empty() -> bool | None:
            return None if any(self._operator.waiting(queue) for queue in queues) else True

        wait_for(f"the end of the messages in {', '.join(queues)}", 120, empty, every=0.2)


def _connection_of(key: str) -> str:
    return key.split("/")[0]


def _names() -> list[tuple[str, str]]:
    return list(SEGMENT_NAMES.items())


def _calls(counters: Mapping[str, Any], operation: str) -> int:
    return int(counters["operations"].get(operation, 0))


def _waited(look: Callable[[], bool | None], what: str, seconds: float, *, every: float) -> None:
    """Wait for a statement that is checked, and shown, right after: then its failure is not the end of the story."""
    try:
        wait_for(what, seconds, look, every=every)
    except LocalStackError:
        return


def main(arguments: Sequence[str]) -> int:
    """Show the demo; return 0 when all of it held."""
    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the stack up (`make down` stops it)")
    parser.add_argument("--json", action="store_true", help="print the final figures as JSON, the story to stderr")
    parser.add_argument("--profiles", type=int, default=10_000, help="size of the full export (default %(default)s)")
    options = parser.parse_args(arguments)
    # Ended by a signal, the stack still has to be taken down.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    screen = Screen(sys.stderr if options.json else sys.stdout)
    try:
        return _show(screen, options)
    except KeyboardInterrupt:
        screen.say("\ninterrupted")
        return 130
    except LocalStackError as error:
        screen.check(str(error), holds=False)
        return 1


def _show(screen: Screen, options: argparse.Namespace) -> int:
    screen.say(PICTURE)
    screen.title("Deploying template.yaml with the SAM CLI onto the local AWS emulator")
    fresh = running() is None
    if options.keep:
        up(screen.say)
    with local_stack(screen.say) as stack:
        demo = Demo(stack, screen, profiles=options.profiles, fresh=fresh)
        demo.run()
        demo.show_table()
        held = screen.end()
        if options.json:
            rows = [asdict(row) for row in demo.rows]
            print(
                json.dumps(
                    {"held": held, "failed": screen.failed, "seconds": round(screen.seconds, 1), "rows": rows}, indent=2
                )
            )
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
