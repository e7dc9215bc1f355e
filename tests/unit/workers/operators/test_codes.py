"""The registry knows every code that the library can raise."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from local.webhook_schemas import schemas
from relay.destinations import registry
from relay.destinations.error_table import Outcome, Row
from relay.domain.problems import Problem, Rejection
from relay.problem_details import Refusal
from relay.workers.operators.codes import CodeKind, all_codes, meaning

LIBRARY = Path(importlib.import_module("relay").__path__[0])
PLACE_OF_CODE = {Rejection: 1, Refusal: 1}
"""Which argument is the code; the first one of problems."""


def modules() -> Iterator[tuple[ModuleType, ast.Module]]:
    """Yield every module of the library with its syntax."""
    for file in sorted(LIBRARY.rglob("*.py")):
        name = ".".join(("relay", *file.relative_to(LIBRARY).with_suffix("").parts)).removesuffix(".__init__")
        yield importlib.import_module(name), ast.parse(file.read_text(encoding="utf-8"))


def resolved(node: ast.expr, module: ModuleType) -> Any:
    """Return what an expression of names and constants is in a module; None for one that only its function knows."""
    if any(isinstance(part, ast.Call | ast.Lambda) for part in ast.walk(node)):
        return None
    try:
        return eval(ast.unparse(node), vars(module))
    except (NameError, AttributeError):
        return None


def raised() -> Iterator[str]:
    """Yield every code that stands in a call which makes a problem, a rejection or a refusal."""
    for module, tree in modules():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            made = resolved(node.func, module)
            if not isinstance(made, type) or not issubclass(made, Problem | Rejection | Refusal):
                continue
            place = next((place for kind, place in PLACE_OF_CODE.items() if issubclass(made, kind)), 0)
            code = resolved(node.args[place], module) if len(node.args) > place else None
            if isinstance(code, str):
                yield code


def tabled() -> Iterator[str]:
    """Yield the codes of the tables of answers; what is split or of one record never leaves its destination."""
    for module, _ in modules():
        for value in vars(module).values():
            rows = value if isinstance(value, tuple) else ()
            yield from (
                row.code
                for row in rows
                if isinstance(row, Row) and row.outcome not in (Outcome.SPLIT, Outcome.REJECTION)
            )


def test_every_code_that_can_be_raised_is_explained() -> None:
    known = {one.code for one in all_codes()}
    found = {*raised(), *tabled()}
    assert len(found) > 80
    assert sorted(found - known) == []


def test_every_code_in_the_answer_to_a_webhook_is_explained() -> None:
    """The answers of all dialects are held to these schemas elsewhere."""
    known = {one.code for one in all_codes()}
    answer = schemas()["Accepted"]["properties"]
    listed = [answer[key]["items"]["properties"]["code"]["enum"] for key in ("rejections", "left_out_parts")]
    codes = {*answer["ignored"]["propertyNames"]["enum"], *listed[0], *listed[1], "ignored_memberships"}
    assert len(codes) > 12
    assert sorted(codes - known) == []


def test_every_finding_of_a_check_is_explained() -> None:
    findings = importlib.import_module("relay.workers.operators.findings")
    samples = importlib.import_module("relay.workers.operators.mapping_samples")
    codes = {
        findings.PAUSED,
        findings.NEVER_SEEN,
        findings.NO_SCHEDULE,
        findings.STRAY_SCHEDULE,
        findings.SCHEDULE,
        findings.STRAY_NAME,
        findings.WELL_NOW,
        findings.DLQ,
        findings.BEHIND,
        findings.VERSIONS,
        findings.CLOCK,
        samples.NOT_TRIED,
        samples.YIELDS_NOTHING,
        "not_ready",
    }
    assert codes <= {one.code for one in all_codes()}


def test_a_code_is_explained_once_in_plain_words() -> None:
    keys = [(one.kind, one.code, one.destination) for one in all_codes()]
    assert len(set(keys)) == len(keys)
    assert all(one.means and one.then for one in all_codes())


@pytest.mark.parametrize("destination", registry.PACKAGES)
def test_a_destination_explains_its_own(destination: str) -> None:
    reasons = registry.load(destination).reasons
    assert reasons
    for code, means in reasons.items():
        found = meaning(code, CodeKind.REJECTION, destination)
        assert found is not None
        assert found.means == means


def test_our_own_words_are_given_where_a_destination_has_none() -> None:
    found = meaning("not_authorised", CodeKind.STOP, "activecampaign")
    assert found is not None
    assert (found.destination, found.who_must_act.value) == (None, "administrator")
    assert meaning("made_up", CodeKind.STOP) is None
