"""JMESPath expressions of the settings: refused when they can never work, bounded while they are worked out.

Mappings and a source's `profile_key` are expressions (https://jmespath.org). What is wrong with one whatever the
profile is refused when settings are read. What goes wrong with one profile concerns its value alone: `Unfit`.

Where this differs from the library, it is so that a missing value never becomes a word, and a number stays what it is:
- `to_string` of null is null; within lists and objects it leaves out what is null; it writes `1001.0` as `1001`;
- `to_number` takes what JSON calls a number, with blanks around it, and nothing else (`1_000`, `nan`);
- `<` and the like are null for values of two types, as the specification says;
- `type` of a missing value is for comparisons: as the whole expression it is null.

An expression is bounded by what it says (MAX_LENGTH, MAX_NODES, MAX_DEPTH), by the work for one profile (MAX_WORK) and
by what it yields (MAX_CHARACTERS). Work and sizes are counted, not timed, so a profile's result is always the same.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import jmespath

from relay.domain.expressions.rules import MAX_DEPTH, MAX_NODES, Node, flaw_of, paths_in, plain_path
from relay.domain.expressions.working import (
    MAX_CHARACTERS,
    MAX_WORK,
    SIGNATURES,
    TOO_MUCH,
    TooMuch,
    Worker,
    characters_of,
)

__all__ = ["MAX_CHARACTERS", "MAX_DEPTH", "MAX_LENGTH", "MAX_NODES", "MAX_WORK", "Expression", "Unfit", "compiled"]

MAX_LENGTH: Final = 2_000
"""Characters of an expression: a table that translates sixty codes fits."""

_NO_PROFILE: Final[Mapping[str, Any]] = {"source": "", "identities": {}, "attributes": {}}
_UNFIT_VALUES: Final = "a function met a value that it does not take, or none"

_worker = Worker()


class Unfit(Exception):  # noqa: N818 - an outcome for one profile, not an error of ours
    """An expression cannot be worked out for one profile. The text can be shown: it repeats no data."""


class Expression:
    """A valid expression. `text` is what was written."""

    __slots__ = ("_names_a_type", "_path", "_tree", "text")

    def __init__(self, text: str, tree: Node) -> None:
        self.text = text
        self._tree = tree
        self._path = plain_path(tree)
        self._names_a_type = (tree["type"], tree.get("value")) == ("function_expression", "type")

    def value(self, view: Mapping[str, Any]) -> Any:
        """Return the JSON value for a view of a profile, None where there is none; raises Unfit and nothing else."""
        result = self._worked_out(view) if self._path is None else _at(view, self._path)
        is_large = isinstance(result, str | list | dict) and characters_of(result, MAX_CHARACTERS) > MAX_CHARACTERS
        if is_large:
            raise Unfit(TOO_MUCH)
        return result

    @property
    def is_path(self) -> bool:
        """Whether it is nothing but names and positions, such as `attributes.email`."""
        return self._path is not None

    @property
    def paths(self) -> list[tuple[str, ...]]:
        """The paths of names that are looked up from the top of the view, as they come."""
        return paths_in(self._tree)

    def _worked_out(self, view: Mapping[str, Any]) -> Any:
        try:
            result = _worker.work_out(self._tree, view)
        except TooMuch:
            raise Unfit(TOO_MUCH) from None
        except Exception:  # noqa: BLE001 - whatever the library makes of odd values concerns this profile's value alone
            raise Unfit(_UNFIT_VALUES) from None
        return None if self._names_a_type and result == "null" else result


@lru_cache(maxsize=1024)
def compiled(text: str) -> Expression:
    """Return the expression of a text, compiled once; ValueError, with a reason that can be shown, when it is none.

    The reason repeats nothing of the text but names of functions.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"is longer than {MAX_LENGTH} characters")
    tree = _parsed(text)
    flaw = flaw_of(tree, SIGNATURES, _tried)
    if flaw is not None:
        raise ValueError(flaw)
    expression = Expression(text, tree)
    for view in _tiny_views(expression.paths):
        try:
            expression.value(view)
        except Unfit as unfit:
            # What is too much for hardly any data is too much for everybody.
            if str(unfit) == TOO_MUCH:
                raise ValueError(f"{TOO_MUCH}, whatever the profile") from None
    return expression


def _parsed(text: str) -> Node:
    try:
        tree: Node = jmespath.compile(text).parsed
    except RecursionError:
        raise ValueError(f"is nested deeper than {MAX_DEPTH} levels") from None
    except Exception as error:  # noqa: BLE001 - the parser meets some texts with other errors than its own
        position = getattr(error, "lex_position", None)
        near = f", near character {position + 1}" if isinstance(position, int) else ""
        raise ValueError(f"is not a JMESPath expression{near}: https://jmespath.org") from None
    return tree


def _tiny_views(paths: Sequence[tuple[str, ...]]) -> Iterator[dict[str, Any]]:
    """Yield views of next to nothing: at the end of each path nothing, then a text, a number, a list, an object."""
    for leaf in ("null", '"a"', "1", '["a", "b"]', "[1, 2]", '[{"a": 1}]', '{"a": 1}'):
        view: dict[str, Any] = {}
        for path in paths:
            place = view
            for key in path[:-1]:
                if not isinstance(place.get(key), dict):
                    place[key] = {}
                place = place[key]
            place[path[-1]] = json.loads(leaf)
        yield view


def _tried(node: Node) -> Exception | None:
    """Work out a part that needs no profile; return what it ended with."""
    try:
        _worker.work_out(node, _NO_PROFILE)
    except Exception as error:  # noqa: BLE001 - as for a profile
        return error
    return None


def _at(value: Any, path: tuple[str | int, ...]) -> Any:
    """Follow a path of names and positions as the library would."""
    for step in path:
        if isinstance(step, str):
            if not isinstance(value, Mapping):
                return None
            value = value.get(step)
        elif isinstance(value, list) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return None
    return value
