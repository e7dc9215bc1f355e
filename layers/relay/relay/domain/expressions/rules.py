"""What is wrong with an expression whatever the profile: found by walking through its parts."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from jmespath.exceptions import JMESPathTypeError

Node: TypeAlias = Mapping[str, Any]
"""A part of an expression as the library parses it: `type`, `children` and, for some types, `value`."""
Signatures: TypeAlias = Mapping[str, Sequence[Mapping[str, Any]]]
"""The functions there are, and what each of their arguments may be, as the library declares them."""

MAX_NODES: Final = 500
"""Parts of one expression: every name, literal, operator and call."""
MAX_DEPTH: Final = 100
"""Levels of parts within parts; `a || b || c` has one more for each `||`."""

_LONGEST_NAME: Final = 40
_CONTEXT_ALONE: Final = frozenset(("field", "current", "identity", "index", "slice"))
_FROM_THE_LEFT: Final = frozenset(
    ("subexpression", "index_expression", "pipe", "projection", "value_projection", "filter_projection", "flatten")
)
"""Parts whose first child makes what the others are about."""
_LISTS: Final = frozenset(("projection", "value_projection", "filter_projection", "flatten", "slice"))
_RESULTS: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(("keys", "map", "sort", "sort_by", "to_array", "values"), frozenset({"array"})),
    **dict.fromkeys(("abs", "ceil", "floor", "length", "sum"), frozenset({"number"})),
    **dict.fromkeys(("avg", "to_number"), frozenset({"number", "null"})),
    **dict.fromkeys(("contains", "ends_with", "starts_with"), frozenset({"boolean"})),
    **dict.fromkeys(("max", "min"), frozenset({"number", "string", "null"})),
    **dict.fromkeys(("join", "type"), frozenset({"string"})),
    "merge": frozenset({"object"}),
    "reverse": frozenset({"array", "string"}),
    "to_string": frozenset({"string", "null"}),
}
"""What functions return, where that is not any type."""
_WORDS: Final = {
    "array": "a list",
    "array-number": "a list of numbers",
    "array-string": "a list of texts",
    "boolean": "true or false",
    "expref": "an expression with & in front",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a text",
}


def flaw_of(tree: Node, signatures: Signatures, work_out: Callable[[Node], Exception | None]) -> str | None:
    """Return why an expression can never work, None when nothing speaks against it.

    `work_out` tries a part that needs no profile, and returns what it ended with.
    """
    nodes: list[Node] = []
    for node, depth in _nodes(tree):
        nodes.append(node)
        if depth > MAX_DEPTH:
            return f"is nested deeper than {MAX_DEPTH} levels"
        if len(nodes) > MAX_NODES:
            return f"has more than {MAX_NODES} parts"
    if tree["type"] == "expref":
        return "has & where no function takes an expression"
    # What is within comes first, so that the innermost trouble is shown.
    for node in reversed(nodes):
        flaw = _own_flaw(node, signatures)
        if flaw is None and _is_constant(node) and (error := work_out(node)) is not None:
            flaw = _constant_flaw(node, error)
        if flaw is not None:
            return flaw
    return None


def paths_in(tree: Node) -> list[tuple[str, ...]]:
    """Return the paths of names that an expression looks up from the top, each once, as they come.

    Of a path through a list or into what a function returned only the part before it.
    """
    found: dict[tuple[str, ...], None] = {}
    _follow(tree, (), found)
    return list(found)


def plain_path(tree: Node) -> tuple[str | int, ...] | None:
    """Return the names and positions of an expression that is nothing but a path, None for any other."""
    match tree["type"]:
        case "field" | "index":
            return (tree["value"],)
        case "identity" | "current":
            return ()
        case "subexpression" | "index_expression":
            parts = [plain_path(child) for child in tree["children"]]
            if any(part is None for part in parts):
                return None
            return tuple(step for part in parts if part is not None for step in part)
        case _:
            return None


def _nodes(tree: Node) -> Iterator[tuple[Node, int]]:
    """Yield every part with its depth, outer ones before those within. Not by recursion: depth is the question."""
    waiting = [(tree, 1)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        waiting.extend((child, depth + 1) for child in _children(node))


def _children(node: Node) -> Sequence[Node]:
    # The children of a slice are its three numbers.
    return () if node["type"] == "slice" else node["children"]


def _own_flaw(node: Node, signatures: Signatures) -> str | None:
    match node["type"]:
        case "function_expression":
            return _call_flaw(node, signatures)
        case "slice" if node["children"][2] == 0:
            return "has a slice with a step of 0"
        case "literal" | "field" | "key_val_pair":
            return _text_flaw(node["value"])
    if any(child["type"] == "expref" for child in _children(node)):
        return "has & where no function takes an expression"
    return None


def _call_flaw(node: Node, signatures: Signatures) -> str | None:
    name, arguments = node["value"], node["children"]
    if name not in signatures:
        # Needed for mistakes only, and every start of a function would pay for it.
        from difflib import get_close_matches

        near = get_close_matches(name, signatures, n=1, cutoff=0)
        return f"unknown function {name[:_LONGEST_NAME]}(); the nearest known one is {near[0]}()"
    signature = signatures[name]
    is_variadic = bool(signature and signature[-1].get("variadic"))
    if len(arguments) < len(signature) or (len(arguments) > len(signature) and not is_variadic):
        least = "at least " if is_variadic else ""
        plural = "" if len(signature) == 1 else "s"
        return f"{name}() takes {least}{len(signature)} argument{plural}, and has {len(arguments)}"
    for index, argument in enumerate(arguments):
        taken = signature[min(index, len(signature) - 1)]["types"]
        if not _may_fit(argument, taken):
            return f"{name}() can only fail: its argument {index + 1} must be {_in_words(taken)}"
    return None


def _in_words(types: Sequence[str]) -> str:
    return " or ".join(_WORDS[one] for one in types) or "a value"


def _may_fit(argument: Node, taken: Sequence[str]) -> bool:
    """Whether an argument may be of a type that a function takes; no types means any value."""
    types = _types_of(argument)
    if types is None:
        return True
    if not taken:
        return types != {"expref"}
    if not types & {one.partition("-")[0] for one in taken}:
        return False
    within = [one.partition("-")[2] for one in taken]
    if argument["type"] != "multi_select_list" or not all(within):
        return True
    elements = [_types_of(child) for child in argument["children"]]
    return any(all(found is None or one in found for found in elements) for one in within)


def _types_of(node: Node) -> frozenset[str] | None:
    """Return the types a part may be of, None for any."""
    kind = node["type"]
    if kind in _LISTS:
        return frozenset({"array", "null"})
    match kind:
        case "literal":
            return frozenset({_type_of(node["value"])})
        case "comparator":
            by_order = {"null"} if node["value"] not in ("eq", "ne") else set()
            return frozenset({"boolean", *by_order})
        case "not_expression":
            return frozenset({"boolean"})
        case "or_expression" | "and_expression":
            left, right = (_types_of(child) for child in node["children"])
            return None if left is None or right is None else left | right
        case "multi_select_list":
            return frozenset({"array", "null"})
        case "multi_select_dict":
            return frozenset({"object", "null"})
        case "subexpression" | "index_expression" | "pipe":
            return _types_of(node["children"][-1])
        case "expref":
            return frozenset({"expref"})
        case "function_expression":
            return _RESULTS.get(node["value"])
    return None


def _type_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
    return "array" if isinstance(value, list) else "object"


def _is_constant(node: Node) -> bool:
    """Whether a part that may fail needs no profile: it can be tried now."""
    return node["type"] in ("function_expression", "comparator") and not _looks_up(node)


def _looks_up(node: Node) -> bool:
    kind = node["type"]
    if kind in _CONTEXT_ALONE:
        return True
    if kind in ("literal", "expref"):
        return False
    children = node["children"]
    return _looks_up(children[0]) if kind in _FROM_THE_LEFT else any(map(_looks_up, children))


def _constant_flaw(node: Node, error: Exception) -> str:
    what = f"{node['value']}()" if node["type"] == "function_expression" else "a comparison"
    if isinstance(error, JMESPathTypeError):
        return f"{error.function_name}() can only fail: it takes {_in_words(error.expected_types)}"
    return f"{what} can only fail with these values"


def _text_flaw(value: Any) -> str | None:
    """Return why a literal cannot be carried to a destination."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, float) and not math.isfinite(one):
            return "holds a number beyond the range of a double"
        if isinstance(one, str) and not one.isascii() and any("\ud800" <= letter <= "\udfff" for letter in one):
            return "holds half a surrogate pair in a text"
        if isinstance(one, dict):
            waiting.extend((*one, *one.values()))
        elif isinstance(one, list):
            waiting.extend(one)
    return None


def _follow(node: Node, place: tuple[str, ...] | None, found: dict[tuple[str, ...], None]) -> tuple[str, ...] | None:
    """Note the paths a part looks up from a place; return where its value lies, None when that is nowhere by name."""
    match node["type"]:
        case "field":
            if place is None:
                return None
            found[(*place, node["value"])] = None
            return (*place, node["value"])
        case "current" | "identity":
            return place
        case "subexpression" | "pipe" | "index_expression":
            for child in node["children"]:
                place = _follow(child, place, found) if child["type"] != "index" else None
            return place
        case "projection" | "value_projection" | "flatten" | "filter_projection":
            _follow(node["children"][0], place, found)
            return None
    for child in _children(node):
        _follow(child, None if node["type"] == "expref" else place, found)
    return None
