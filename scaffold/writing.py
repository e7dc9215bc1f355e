"""What a new destination is made of: the files of the model under another name, and the places that name it."""

from __future__ import annotations

import re
import subprocess
import sys
import tokenize
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from scaffold.names import Name, UnusableNameError

ROOT = Path(__file__).parents[1]
MODEL = Name("newsletter_tool")


class Part(NamedTuple):
    """A file of `scaffold/model`, where its copy goes, and what is to be changed there first."""

    model: str
    path: str
    change: str


PARTS = (
    Part("sandbox.py", "sandboxes/{snake}/__init__.py", "the vendor's calls and limits, as they are documented"),
    Part(
        "package.py", "layers/relay/relay/destinations/{snake}/__init__.py", "the address, the calls, what answers mean"
    ),
    Part("subject.py", "tests/contract/{snake}_subject.py", "how the suite reads the sandbox, and makes it difficult"),
    Part("mistakes.py", "tests/contract/{snake}_mistakes.py", "the mistakes, whenever the text they change is another"),
    Part("test_own.py", "tests/unit/destinations/test_{snake}.py", "what only this destination does"),
    Part("page.txt", "docs/{kebab}.md", "set-up, rejections, limits, and what only a live account can prove"),
)
TEMPLATE, INDEX = "template.yaml", "docs/README.md"


def path_of(part: Part, name: Name) -> str:
    """Return where a part of a new destination goes, from the root of the repository."""
    return part.path.format(snake=name.snake, kebab=name.kebab)


def planned(name: Name, root: Path = ROOT) -> dict[str, str]:
    """Return the texts of all files that are written or edited, by path. Raises UnusableNameError; writes nothing."""
    paths = {part: path_of(part, name) for part in PARTS}
    _refuse_taken(name, root, paths.values())
    new = {path: _copied(part, path, name, root) for part, path in paths.items()}
    template = with_word((root / TEMPLATE).read_text(encoding="utf-8"), name)
    return {**new, TEMPLATE: template, INDEX: with_page((root / INDEX).read_text(encoding="utf-8"), name)}


def write(texts: Mapping[str, str], root: Path = ROOT) -> None:
    """Write files. When one cannot be written, all are as they were before, and the error is raised."""
    before = {path: (root / path).read_bytes() if (root / path).exists() else None for path in texts}
    try:
        for path, text in texts.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
    except BaseException:
        for path, content in before.items():
            _put_back(root / path, content)
        raise


def with_word(template: str, name: Name) -> str:
    """Return the template with one more word in its list of destinations, which is in alphabetical order."""
    found = _DESTINATIONS.search(template)
    assert found is not None, f"{TEMPLATE} has no list &destinations"
    words = sorted([*found[1].split(", "), name.word])
    return f"{template[: found.start(1)]}{', '.join(words)}{template[found.end(1) :]}"


def with_page(index: str, name: Name) -> str:
    """Return the index of the pages with a row for the new page, after those of the other destinations."""
    row = f"| keep lists of {name.title} in step | [{name.title}]({name.kebab}.md) |\n"
    before, mark, after = index.partition("| run it: ")
    assert mark, f"{INDEX} has no row about running it"
    return f"{before}{row}{mark}{after}"


_DESTINATIONS = re.compile(r"&destinations \[(\w+(?:, \w+)*)\]")
_OUR_OWN = "lint.isort.known-first-party = ['relay', 'sandboxes', 'tests']"
"""The linter knows them by their files, which are not there yet."""
_WORDS = re.compile(r"\[(\w+(?:, \w+)*)\]")


def _refuse_taken(name: Name, root: Path, paths: Iterable[str]) -> None:
    if name.word == MODEL.word:
        raise UnusableNameError("the model of destinations has this name")
    for path in paths:
        place = root / path
        # A package beside a module of its name would hide it.
        rivals = [place.parent, place.parent.with_suffix(".py")] if place.name == "__init__.py" else [place]
        for rival in rivals:
            if rival.exists():
                raise UnusableNameError(f"{rival.relative_to(root)} is there already")
    words = {
        word for listed in _WORDS.findall((root / TEMPLATE).read_text(encoding="utf-8")) for word in listed.split(", ")
    }
    if name.word in words:
        raise UnusableNameError(f"{TEMPLATE} has the word {name.word} already")
    if name.camel in _identifiers(root):
        raise UnusableNameError(f"the class would be {name.camel}, which its own files use for something else")


def _identifiers(root: Path) -> set[str]:
    """Return what the files of the model call by a name: a class of that name would hide it."""
    found = set()
    for file in (root / "scaffold/model").glob("*.py"):
        with file.open("rb") as lines:
            found |= {token.string for token in tokenize.tokenize(lines.readline) if token.type == tokenize.NAME}
    return found


def _copied(part: Part, path: str, name: Name, root: Path) -> str:
    """Return a file of the model as the new destination's, formatted."""
    text = (root / "scaffold/model" / part.model).read_text(encoding="utf-8")
    modules = [one for one in PARTS if one.model.endswith(".py")]
    becomes = {f"scaffold.model.{one.model[:-3]}": _module(path_of(one, name)) for one in modules}
    becomes |= zip(MODEL.spellings(), name.spellings(), strict=True)
    text = re.sub("|".join(map(re.escape, becomes)), lambda found: becomes[found[0]], text)
    if path.endswith(".py"):
        # Names of another length are sorted and wrapped otherwise.
        text = _ruff(text, path, root, "check", "--fix", "--exit-zero", "--select", "I", "--config", _OUR_OWN)
        text = _ruff(text, path, root, "format")
    return text


def _module(path: str) -> str:
    return path.removeprefix("layers/relay/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _ruff(text: str, path: str, root: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "ruff", *arguments, "--quiet", "--stdin-filename", path, "-"]
    return subprocess.run(command, cwd=root, input=text, capture_output=True, text=True, check=True).stdout


def _put_back(path: Path, content: bytes | None) -> None:
    if content is not None:
        path.write_bytes(content)
        return
    path.unlink(missing_ok=True)
    if path.name == "__init__.py" and path.parent.is_dir():
        path.parent.rmdir()
