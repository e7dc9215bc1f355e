"""Puts together what answers operators' questions, out of the parts of a stack.

Each subject is imported and made when it is asked about, so that a question pays for its own parts only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.breaker.accounts import Accounts
    from relay.deployed import Deployed
    from relay.wiring import Stack
    from relay.wiring_people import People
    from relay.workers.operators.checker import Checker
    from relay.workers.operators.describing import Describing
    from relay.workers.operators.file_check import FileChecker
    from relay.workers.operators.importing import Importing
    from relay.workers.operators.operator import Answers, Names, Operator
    from relay.workers.operators.planning import Planning
    from relay.workers.operators.probing import Probing
    from relay.workers.operators.running import Running
    from relay.workers.operators.status import Watching
    from relay.workers.operators.validating import Validator
    from relay.workers.planner import Planner


class Operators:
    """What answers operators, each part made when it is first needed; as in `Stack`, any may be set before."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    @cached_property
    def destination_names(self) -> Sequence[str]:
        """The destinations there are."""
        from relay.destinations.registry import PACKAGES

        return list(PACKAGES)

    @cached_property
    def accounts(self) -> Accounts:
        """Accounts for who only looks: the destinations' notes stay as they are."""
        from relay.stores.notes import NotesAsTheyAre

        return replace(self.stack.accounts, notes=NotesAsTheyAre)

    @cached_property
    def checker(self) -> Checker:
        """Looks for what is wrong."""
        from relay.workers.operators import stack_health
        from relay.workers.operators.checker import Checker

        return Checker(
            self.stack.database,
            self.stack.settings,
            self.stack.destinations,
            self.accounts,
            self.stack.ownership,
            replace(self.stack.prober, accounts=self.accounts),
            self.stack.schedules,
            self.stack.inventories,
            self.stack.clock,
            lambda: stack_health.look(self.deployed),
        )

    @cached_property
    def planner(self) -> Planner:
        """Says what a run would do."""
        from relay.reconcile.survey import Surveyor
        from relay.workers.planner import Planner

        stack = self.stack
        opener = replace(stack.opener, accounts=self.accounts)
        return Planner(stack.database, opener, Surveyor(stack.database, stack.keyed, stack.clock), stack.clock)

    @cached_property
    def planning(self) -> Planning:
        """Answers what a run would do."""
        from relay.workers.operators.planning import Planning

        return Planning(self.planner)

    @cached_property
    def probing(self) -> Probing:
        """Probes on request."""
        from relay.workers.operators.probing import Probing

        return Probing(self.stack.database, self.stack.settings, self.stack.prober)

    @cached_property
    def running(self) -> Running:
        """Answers what is asked about runs."""
        from relay.workers.operators.running import Running

        parts = self.stack.starter, self.stack.launcher, self.stack.scheduled_starts()
        return Running(self.stack.database, self.stack.settings, *parts, self.stack.clock)

    @cached_property
    def people(self) -> People:
        """What answers questions about people."""
        from relay.wiring_people import People

        return People(self.stack)

    @cached_property
    def deployed(self) -> Deployed:
        """What AWS shows of the stack."""
        from relay.deployed import Deployed

        place, _, _ = self.stack.environment["RELAY_CHANGES_QUEUE"].rpartition("/")
        return Deployed(self.stack.environment["RELAY_PREFIX"], place, self.destination_names, self.stack.clock)

    @cached_property
    def describing(self) -> Describing:
        """Describes what can be written."""
        from relay.workers.operators.describing import Describing

        environment = self.stack.environment
        return Describing(
            environment["RELAY_PREFIX"], environment.get("AWS_REGION"), self.destination_names, self.stack.destinations
        )

    @cached_property
    def importing(self) -> Importing:
        """Answers what is asked about imports of segments."""
        from relay.workers.operators.importing import Importing

        return Importing(self.stack.database, self.stack.importer)

    @cached_property
    def file_checker(self) -> FileChecker:
        """Says beforehand whether a file could replace a segment."""
        from relay.workers.operators.file_check import FileChecker

        return FileChecker(self.stack.settings.source)

    @cached_property
    def validator(self) -> Validator:
        """Says beforehand what is wrong with settings."""
        from relay.workers.operators.validating import Validator

        stack = self.stack
        parts = self.accounts, stack.ownership, stack.clock, lambda: stack.inventories().connections
        return Validator(stack.database, stack.settings, stack.destinations, *parts)

    @cached_property
    def watching(self) -> Watching:
        """Shows how everything stands."""
        from relay.workers.operators.status import Watching

        stack = self.stack
        parts = stack.launcher, stack.schedules, stack.inventories, self.deployed, stack.clock
        return Watching(stack.database, stack.settings, *parts)

    def operator(self) -> Operator:
        """Return what answers the questions of the function that RELAY_ADMIN names by its level."""
        from relay.stores import segments
        from relay.workers.operators.codes import list_codes
        from relay.workers.operators.operator import Operator
        from relay.workers.operators.protocol import Level

        answers: dict[str, Answers] = {
            "attempts": lambda: self.watching.attempts,
            "cancel": lambda: self.running.cancel,
            "check": lambda: self.checker.check,
            "check_file": lambda: self.file_checker.check,
            "codes": lambda: list_codes,
            "confirm": lambda: self.running.confirm,
            "describe": lambda: self.describing.describe,
            "cancel_import": lambda: self.importing.cancel,
            "confirm_import": lambda: self.importing.confirm,
            "import": lambda: self.importing.show,
            "imports": lambda: self.importing.list,
            "plan": lambda: self.planning.plan,
            "probe": lambda: self.probing.probe,
            "run": lambda: self.running.run,
            "run_all": lambda: self.running.run_all,
            "runs": lambda: self.running.runs,
            "show": lambda: self.running.show,
            "status": lambda: self.watching.status,
            "validate": lambda: self.validator.validate,
        }
        answers |= self.people.answers()
        environment = self.stack.environment
        names: dict[str, Names] = {
            "unknown_export": self.stack.settings.export_keys,
            "unknown_connection": lambda: self.stack.inventories().connections,
            "unknown_source": lambda: self.stack.inventories().sources,
            "unknown_segment": lambda: [one.id for one in segments.catalogue(self.stack.database)],
        }
        level, prefix = Level(environment["RELAY_ADMIN"]), environment["RELAY_PREFIX"]
        return Operator(level, prefix, answers, self.stack.observe, names)
