"""The name of a destination as each place writes it, and which names a new one may have."""

from __future__ import annotations

import builtins
import keyword
import re
from dataclasses import dataclass

import yaml

LONGEST = 24
"""A name is part of the names of queues and functions, whose length AWS limits."""

_SHAPE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


class UnusableNameError(ValueError):
    """A new destination cannot have this name; the text says why."""


@dataclass(frozen=True)
class Name:
    """A destination's name, such as `gainsight_px`. Raises UnusableNameError for a text that is none."""

    snake: str
    """As connections, packages and files have it."""

    def __post_init__(self) -> None:
        if _SHAPE.fullmatch(self.snake) is None:
            raise UnusableNameError("a name is small letters and digits, with single underscores between words")
        if len(self.snake) > LONGEST:
            raise UnusableNameError(f"a name has at most {LONGEST} characters, and this one {len(self.snake)}")
        if keyword.iskeyword(self.snake) or hasattr(builtins, self.camel):
            raise UnusableNameError("Python has this word for itself, and no package or class can be called so")
        if not isinstance(yaml.safe_load(self.word), str):
            raise UnusableNameError(f"{self.word} is no text in YAML, and the template names destinations there")

    @property
    def kebab(self) -> str:
        """As pages have it: `gainsight-px`."""
        return self.snake.replace("_", "-")

    @property
    def camel(self) -> str:
        """As classes have it: `GainsightPx`."""
        return "".join(word.capitalize() for word in self.snake.split("_"))

    @property
    def title(self) -> str:
        """As texts have it: `Gainsight Px`, to be corrected by hand."""
        return " ".join(word.capitalize() for word in self.snake.split("_"))

    @property
    def word(self) -> str:
        """As the template has it: `gainsightpx`."""
        return self.snake.replace("_", "")

    def spellings(self) -> tuple[str, ...]:
        """Return all of them, each of which can be told from the others in a name of two words."""
        return self.snake, self.kebab, self.camel, self.title, self.word
