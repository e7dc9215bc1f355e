"""Working out an expression for one profile, with the work and the sizes of results counted against a budget.

Steps are visits of a part of the expression. Work that the library does in one go (joining, comparing, flattening) is
charged before it is done, so that nothing large is made only to be thrown away.
"""

import json
import re
from typing import Any, Final

from jmespath.functions import Functions, signature
from jmespath.visitor import Options, TreeInterpreter

from relay.domain.values import text_of, whole

MAX_WORK: Final = 100_000
"""Units of work for one profile: a visit of a part of the expression, an element or 16 characters handled in one go.
Some 50 ms on one core of 2025; an ordinary mapping takes less than 100."""

MAX_CHARACTERS: Final = 100_000
"""Characters of what an expression yields, written as JSON. Longer than any value a destination takes."""

_CHARACTERS_A_UNIT: Final = 16
_LOOKED_AT_A_UNIT: Final = 4
"""Characters a unit where every value is looked at by itself."""
_AT_ONCE: Final = frozenset(
    ("abs", "ceil", "ends_with", "floor", "length", "not_null", "starts_with", "to_array", "to_number", "type")
)
"""Functions whose work does not grow with what they are given."""
_WHOLE_VALUES: Final = frozenset(("contains", "to_string"))
"""Functions that look at everything within what they are given."""
_NUMBER: Final = re.compile(r"\s*[+-]?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,3})?\s*")


TOO_MUCH: Final = f"takes more than {MAX_WORK} steps or yields more than {MAX_CHARACTERS} characters"


class TooMuch(Exception):  # noqa: N818 - a verdict on an expression, not an error
    """The work or the size of a result goes beyond the bounds."""


def characters_of(value: Any, most: int) -> int:
    """Return about how many characters a JSON value takes when it is written; it stops counting beyond `most`.

    Values share their parts, so a few lists may stand for many millions of characters.
    """
    counted, waiting = 0, [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            counted += len(one) + 3
        elif isinstance(one, dict):
            counted += 3 * len(one) + sum(map(len, one)) + 3
            waiting.extend(one.values())
        elif isinstance(one, list | tuple):
            counted += 3
            waiting.extend(one)
        else:
            counted += 5
        if counted > most:
            break
    return counted


class Worker(TreeInterpreter):
    """The library's interpreter on a budget. One expression at a time: it is not for several threads."""

    def __init__(self) -> None:
        self._left = 0
        super().__init__(Options(custom_functions=_Functions(self)))
        self._visits = {
            name.removeprefix("visit_"): getattr(self, name) for name in dir(self) if name.startswith("visit_")
        }

    def work_out(self, node: Any, view: Any) -> Any:
        """Return the value of an expression for a view. Raises TooMuch, or anything the library makes of odd values."""
        self._left = MAX_WORK
        return self.visit(node, view)

    def charge(self, units: int) -> None:
        """Take work off the budget before it is done; raises TooMuch when it does not suffice."""
        self._left -= units
        if self._left < 0:
            raise TooMuch

    def charge_characters(self, characters: int) -> None:
        """Charge for handling so many characters."""
        self.charge(1 + characters // _CHARACTERS_A_UNIT)

    def charge_for(self, value: Any) -> None:
        """Charge for looking at everything within a value."""
        # Rounded up: what stopped counting at the budget goes beyond it.
        looked_at = characters_of(value, self._left * _LOOKED_AT_A_UNIT)
        self.charge(1 + looked_at // _LOOKED_AT_A_UNIT)

    def visit(self, node: Any, value: Any) -> Any:
        """Work out a part of the expression."""
        self._left -= 1
        if self._left < 0:
            raise TooMuch
        return self._visits[node["type"]](node, value)

    def visit_comparator(self, node: Any, value: Any) -> Any:
        """Compare two values; by order only two of one type."""
        left, right = (self.visit(child, value) for child in node["children"])
        name = node["value"]
        if isinstance(left, list | dict) and isinstance(right, list | dict):
            self.charge_for(left)
        is_by_order = name not in ("eq", "ne")
        if is_by_order and not (_are_numbers(left, right) or (isinstance(left, str) and isinstance(right, str))):
            return None
        return self.COMPARATOR_FUNC[name](left, right)

    def visit_flatten(self, node: Any, value: Any) -> Any:
        """Flatten a list by one level."""
        base = self.visit(node["children"][0], value)
        if not isinstance(base, list):
            return None
        self.charge(sum(len(element) if isinstance(element, list) else 1 for element in base))
        flat: list[Any] = []
        for element in base:
            if isinstance(element, list):
                flat.extend(element)
            else:
                flat.append(element)
        return flat

    def visit_slice(self, node: Any, value: Any) -> Any:
        """Cut a part out of a list."""
        part = super().visit_slice(node, value)
        self.charge(0 if part is None else len(part))
        return part


class _Functions(Functions):
    """The library's functions, charged for."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def call_function(self, function_name: str, resolved_args: Any) -> Any:
        if function_name in _WHOLE_VALUES:
            self._worker.charge_for(resolved_args)
        elif function_name not in _AT_ONCE:
            for argument in resolved_args:
                if isinstance(argument, str):
                    self._worker.charge_characters(len(argument))
                elif isinstance(argument, list | dict):
                    self._worker.charge(len(argument))
        return super().call_function(function_name, resolved_args)

    @signature({"types": ["string"]}, {"types": ["array-string"]})
    def _func_join(self, separator: str, array: list[str]) -> str:
        characters = len(separator) * len(array) + sum(map(len, array))
        self._worker.charge_characters(characters)
        return separator.join(array)

    @signature({"types": []})
    def _func_to_string(self, value: Any) -> str | None:
        if isinstance(value, str):
            return value
        if not isinstance(value, list | dict):
            return text_of(value)
        return json.dumps(_without_gaps(value), separators=(",", ":"), ensure_ascii=False, allow_nan=False)

    @signature({"types": []})
    def _func_to_number(self, value: Any) -> int | float | None:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
        if not isinstance(value, str) or _NUMBER.fullmatch(value) is None:
            return None
        return int(value) if value.strip().lstrip("+-").isdecimal() else float(value)


SIGNATURES: Final = {name: entry["signature"] for name, entry in _Functions.FUNCTION_TABLE.items()}
"""What the arguments of every function may be."""


def _are_numbers(*values: Any) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _without_gaps(value: Any) -> Any:
    """Return a value without the nulls within it, and with whole numbers as such."""
    if isinstance(value, dict):
        return {key: _without_gaps(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_without_gaps(one) for one in value if one is not None]
    return whole(value)
