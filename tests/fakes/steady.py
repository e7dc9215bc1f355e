"""Chance and ids without surprises: what a replay draws is the same every time."""

from __future__ import annotations

import random
import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any
from unittest import mock


class Steady(Random):
    """Draws what makes no trouble: order is kept, a batch is as large as may be, nothing unlikely happens."""

    def random(self) -> float:
        return 0.999

    def randint(self, a: int, b: int) -> int:
        return b

    def shuffle(self, x: Any) -> None:
        """Keep the order."""


@contextmanager
def same_every_time(seed: int = 0) -> Iterator[None]:
    """Let everything that is drawn inside (jitter, the ids of runs, calls and imports) come from one seed."""
    drawn = Random(seed)

    def token_hex(size: int = 16) -> str:
        return f"{drawn.getrandbits(8 * size):0{2 * size}x}"

    def uuid4() -> uuid.UUID:
        return uuid.UUID(int=drawn.getrandbits(128), version=4)

    state = random.getstate()
    random.seed(seed)
    try:
        with mock.patch.object(secrets, "token_hex", token_hex), mock.patch.object(uuid, "uuid4", uuid4):
            yield
    finally:
        random.setstate(state)
