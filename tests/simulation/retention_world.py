"""What the plain world leaves out: profiles that nobody names for longer than `RetentionDays` are forgotten."""

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from relay.domain.changes import Forget
from relay.domain.profiles import NOTED_AGAIN, Profile
from tests.simulation.process import Process
from tests.simulation.promises import promise
from tests.simulation.world import World

if TYPE_CHECKING:
    from relay.workers.forgetting import Forgetting

KEPT = timedelta(days=30)

TICKS = 40


class Checked:
    """Forgets for retention, and looks whether the profile may go."""

    def __init__(self, world: "RetentionWorld", forgetting: "Forgetting") -> None:
        self._world = world
        self._forgetting = forgetting

    def forget(self, stored: Profile, how: Forget) -> Profile | None:
        self._world.check_may_go(stored)
        return self._forgetting.forget(stored, how)


class RetainingProcess(Process):
    def __init__(self, world: Any) -> None:
        super().__init__(world)
        self.stack.environment = {**self.stack.environment, "RELAY_RETENTION_DAYS": str(KEPT.days)}
        assert self.stack.retention is not None
        checked: Any = Checked(world, self.stack.forgetting)
        self.stack.retention._forgetting = checked


class RetentionWorld(World):
    """At rest nothing comes for longer than profiles are kept; then they go, in the usual trouble."""

    process = RetainingProcess

    def settle_down(self) -> None:
        super().settle_down()
        self.pass_time((KEPT + NOTED_AGAIN + timedelta(days=2)).total_seconds())
        self.is_calm = False
        for _ in range(TICKS):
            # No edit: a function may see it later than the world. Nothing old again: exits are remembered for 30 days.
            todo: list[Callable[[], object]] = [self.tick, self.tick, self._post_news, self.route, self.check]
            self.chance.choice([*todo, *self._consumers()])()
            self.pass_time(self.chance.choice([0.2, 5, 30]))
            self.check_no_defect()
        super().settle_down()

    def _post_news(self) -> None:
        self.post_changes([self.change()])

    def check_may_go(self, stored: Profile) -> None:
        """Who is forgotten was named by nobody for so long."""
        self.happened["profiles that nobody named"] += 1
        followed = {segment for export in self.console.exports.values() for segment in export.segments}
        inside = {segment for segment, held in stored.memberships.items() if held.realized}
        promise(not inside & followed, f"{stored.id} is forgotten though an export names {inside & followed}")
        assert stored.changed_at is not None
        age = self.time - stored.changed_at
        promise(age >= KEPT - timedelta(seconds=10), f"{stored.id} is forgotten though it was named {age} ago")
