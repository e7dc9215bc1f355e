"""Puts together what answers operators' questions about people, out of the parts of a stack."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.reconcile.standing import Standings
    from relay.wiring import Stack
    from relay.workers.operators.explaining import Explainer
    from relay.workers.operators.finding import Finder
    from relay.workers.operators.following import Follower
    from relay.workers.operators.forgetting import ForgettingOnRequest
    from relay.workers.operators.operator import Answers
    from relay.workers.operators.rejected import Rejections
    from relay.workers.operators.segments import Segments
    from relay.workers.operators.taking import Taker
    from relay.workers.operators.tracing import Tracing


class People:
    """What answers questions about people, each part made when it is first needed."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def answers(self) -> dict[str, Answers]:
        """Return who answers which question."""
        return {
            "explain": lambda: self.explainer.explain,
            "forget": lambda: self.forgetting.forget,
            "follow": lambda: self.follower.follow,
            "rejected": lambda: self.rejections.page,
            "segment": lambda: self.segments.segment,
            "segments": lambda: self.segments.segments,
            "take": lambda: self.taker.take,
            "test": lambda: self.tracing.test,
            "trace": lambda: self.tracing.show,
        }

    @cached_property
    def finder(self) -> Finder:
        """Finds profiles by what an operator knows of a person."""
        from relay.workers.operators.finding import Finder

        stack = self.stack
        return Finder(stack.database, stack.settings, stack.destinations, stack.keyed, stack.inventories)

    @cached_property
    def forgetting(self) -> ForgettingOnRequest:
        """Forgets a person when it is asked to."""
        from relay.workers.operators.forgetting import ForgettingOnRequest

        stack = self.stack
        return ForgettingOnRequest(
            stack.database,
            stack.settings,
            stack.destinations,
            stack.forgetting,
            lambda asked: self.finder.find(asked).profiles,
            stack.clock,
        )

    @cached_property
    def standings(self) -> Standings:
        """Says where profiles stand."""
        from relay.reconcile.standing import Standings

        return Standings(self.stack.database, self.stack.destinations, self.stack.keyed, self.stack.clock)

    @cached_property
    def explainer(self) -> Explainer:
        """Says why a person was sent, or not."""
        from relay.workers.operators.explaining import Explainer

        parts = self.stack.destinations, self.finder, self.standings, self._means, self.stack.observe
        return Explainer(self.stack.database, self.stack.settings, *parts)

    @cached_property
    def rejections(self) -> Rejections:
        """Says who was rejected."""
        from relay.workers.operators.rejected import Rejections

        stack = self.stack
        return Rejections(stack.database, stack.settings, stack.keyed, stack.clock, self._means)

    @cached_property
    def segments(self) -> Segments:
        """Says which segments there are, and counts their members."""
        from relay.stores.notes import NotesAsTheyAre
        from relay.workers.operators.segments import Segments

        stack = self.stack
        accounts = replace(stack.accounts, notes=NotesAsTheyAre)
        return Segments(stack.database, stack.settings, stack.destinations, accounts, stack.clock)

    @cached_property
    def follower(self) -> Follower:
        """Says what became of a body that was posted."""
        from relay.workers.operators.following import Follower

        stack = self.stack
        return Follower(stack.database, stack.settings, stack.keyed, self.standings, self._means)

    @cached_property
    def taker(self) -> Taker:
        """Says what would be taken of a body."""
        from relay.workers.operators.taking import Taker

        return Taker(self.stack.settings, self.stack.keyed, self.stack.clock)

    @cached_property
    def tracing(self) -> Tracing:
        """Asks for looks whose requests an operator wants to see."""
        from relay.workers.operators.tracing import Tracing

        stack = self.stack
        parts = stack.destinations, self.finder, stack.enqueuer, stack.clock, stack.new_id
        return Tracing(stack.database, stack.settings, *parts)

    def _means(self, destination: str, code: str) -> str | None:
        """Return what the code of a rejection means."""
        from relay.workers.operators.codes import rejection_means

        return rejection_means(code, self.stack.destinations(destination))
