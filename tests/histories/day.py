"""One day of a small relay that exports to the ActiveCampaign sandbox: for tests that say what happens, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from random import Random
from typing import Any

from flask import Flask

from relay.destinations.activecampaign import ActiveCampaign
from relay.domain import ledger
from relay.domain.exports import Export
from relay.domain.runs import Run
from relay.messages import Look, by_shard, group
from relay.queues import Message
from relay.stores import runs
from sandboxes.activecampaign import create_app
from sandboxes.activecampaign.account import ActiveCampaignAccount
from sandboxes.activecampaign.settings import ActiveCampaignConfig
from tests.fakes.refusals import codes_of
from tests.fakes.virtual_clock import VirtualClock
from tests.histories.activecampaign_side import LIST, MARK, OTHER_LIST, ActiveCampaignSide
from tests.histories.people import Person
from tests.histories.side import CONNECTION, FIRST, SEGMENTS
from tests.histories.world import World
from tests.simulation.settings import SEEN_WITHIN

BULK = "/api/3/import/bulk_import"
INFO = "/api/3/import/info"
LOOK_UPS = "^/api/3/contacts"


class _Side(ActiveCampaignSide):
    def __init__(self, clock: VirtualClock, options: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        self._options = options
        self._config = config
        super().__init__(Random(0), clock)

    def _app(self) -> Flask:
        settings: dict[str, Any] = {
            "api_key": "s3cret-key",
            "lists": {LIST: "News", OTHER_LIST: "Offers"},
            "fields": {1: "text", MARK: "text"},
            **self._config,
        }
        return create_app(ActiveCampaignConfig(**settings), clock=self.clock.timestamp, sleep=self.clock.advance)

    def _export(self) -> Export:
        options = ActiveCampaign.options_model.model_validate({"list_id": str(LIST), **self._options})
        mapping = {"email": "attributes.email", "first_name": "attributes.name"}
        return Export(CONNECTION, FIRST, self.name, True, False, SEGMENTS[:1], mapping, options, 0)


class Day:
    """A relay, its account and its people, who are numbered from 0; nothing happens by chance."""

    def __init__(self, people: int, options: Mapping[str, Any] | None = None, **config: Any) -> None:
        """`config` are settings of the sandbox."""
        self.clock = VirtualClock()
        self.side = _Side(self.clock, options or {}, config)
        self.account: ActiveCampaignAccount = self.side.account
        self.world = World(Random(0), self.side, self.clock)
        self.world.death_rate, self.world.budget = 0.0, None
        self.clock.advance(2 * SEEN_WITHIN.total_seconds())
        for number in range(people):
            person = Person(number, {"email": self.email(number), "name": "Ann"}, {}, set(SEGMENTS[:1]))
            self.world.people.everybody.append(person)
            self.world.people.store(person, SEGMENTS[:1])

    @property
    def export(self) -> Export:
        """Return the export as it was saved."""
        [export] = self.world.exports
        return export

    @staticmethod
    def email(number: int) -> str:
        return f"person{number}@example.com"

    def rename(self, numbers: Sequence[int], name: str, *, stream: bool = True) -> None:
        """Give people another name, and have the relay look at them at once unless only the next run shall."""
        changed = []
        for number in numbers:
            person = self.world.people.everybody[number]
            person.attributes["name"] = name
            changed.append(self.world.people.store(person, SEGMENTS[:1]))
        if stream:
            export = self.export
            bodies = [
                (shard, Look(export.connection, export.name, export.version, ids))
                for shard, ids in by_shard(changed, self.side.destination.shards)
            ]
            self.world.queue.send([Message(look.to_json(), group(export.connection, shard)) for shard, look in bodies])

    def fault(
        self, do: Mapping[str, Any], path: str, *, method: str = "GET", times: int | None = 1, **more: Any
    ) -> None:
        """Have the sandbox misbehave at calls of a path."""
        match = {"path": path, "method": method}
        self.side.post("faults", [{"match": match, "times": times, "do": dict(do), **more}])

    def plan_imports(self, *outcomes: Mapping[str, Any]) -> None:
        """Say how the next imports end."""
        self.side.post("import_outcomes", [dict(outcome) for outcome in outcomes])

    def plant(self, number: int, **more: Any) -> None:
        """Edit a contact by hand."""
        self.side.post("contacts", {"email": self.email(number), **more})

    def run(self) -> Run:
        """Start a run."""
        self.world.start_run(self.export)
        [run] = self.world.active_runs()
        return run

    def wait(self, **duration: float) -> None:
        """Let the relay work for some time."""
        self.world.run_until(self.clock.now() + timedelta(**duration))

    def wait_for_end(self, run: Run) -> timedelta:
        """Let the relay work until a run has ended; return how long that took from its start."""
        while self.state(run).ended_at is None:
            self.wait(minutes=1)
            assert self.clock.now() - run.started_at < timedelta(days=3), self.counts(run)
        ended = self.state(run).ended_at
        assert ended is not None
        return ended - run.started_at

    def full_run(self) -> dict[str, int]:
        """Start a run and let it end; return its counts."""
        run = self.run()
        self.wait_for_end(run)
        return self.counts(run)

    def state(self, run: Run) -> Run:
        found = runs.load(self.world.database, run.id)
        assert found is not None
        return found

    def counts(self, run: Run) -> dict[str, int]:
        """Return what a run has counted, without nothings."""
        counts = ledger.total(shard.counts for shard in runs.shards(self.world.database, run.id))
        assert ledger.adds_up(counts), counts
        hidden = ("assigned", "calls", "selected")
        return {name: number for name, number in counts.items() if number and name not in hidden}

    def names(self) -> dict[str, str]:
        """Return the names of the contacts on the list, by address."""
        self.account.settle()
        return {
            contact.email: contact.first_name
            for contact in self.account.contacts.values()
            if (standing := contact.lists.get(LIST)) is not None and standing.status == 1
        }

    def codes(self) -> dict[int, str]:
        """Return the standing rejections, by person."""
        ids = {self.world.people.id_of(person): person.number for person in self.world.people.everybody}
        found = codes_of(self.world.database, self.world.keyed, self.export.key, sorted(ids))
        return {ids[profile]: code for profile in sorted(found, key=ids.__getitem__) for code in found[profile]}

    def calls(self, operation: str) -> int:
        """Return how often something was called, such as `POST /api/3/import/bulk_import`."""
        operations: dict[str, int] = self.side.counters()["operations"]
        return sum(count for name, count in operations.items() if name.startswith(operation))

    def is_stopped(self) -> bool:
        return "stopped" in self.world.unrest()
