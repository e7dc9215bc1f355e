"""The sandboxes stand alone: they judge the product, so they must not share its mistakes."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
ALLOWED = {"sandboxes", "flask", "werkzeug", "pydantic", *sys.stdlib_module_names}


def imported(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield "." if node.level else str(node.module).partition(".")[0]
        elif isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)


def test_the_sandboxes_import_nothing_of_the_product() -> None:
    sources = [*sorted((ROOT / "sandboxes").rglob("*.py")), ROOT / "scaffold/model/sandbox.py"]
    assert sources
    found = {(str(source.relative_to(ROOT)), name) for source in sources for name in imported(source)}
    assert {(source, name) for source, name in found if name not in ALLOWED} == set()


def test_what_is_deployed_imports_no_sandbox() -> None:
    sources = [*(ROOT / "layers").rglob("*.py"), *(ROOT / "functions").rglob("*.py")]
    assert sources
    assert [source for source in sources if "sandboxes" in set(imported(source))] == []
