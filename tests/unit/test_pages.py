"""The pages lead to each other: what a link names is there, and the index has every page."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# Top-level folders without a dot, so that what was installed or built is not read.
FOLDERS = [folder for folder in sorted(ROOT.iterdir()) if folder.is_dir() and not folder.name.startswith(".")]
PAGES = [*sorted(ROOT.glob("*.md")), *(page for folder in FOLDERS for page in sorted(folder.rglob("*.md")))]


def links(page: Path) -> Iterator[tuple[str, str]]:
    """Yield file and heading (either may be empty) of each link of a page that leads to another page of ours."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in link:
            file, _, heading = link.partition("#")
            yield file, heading


def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


def leads_nowhere(page: Path, file: str, heading: str) -> bool:
    target = (page.parent / file).resolve() if file else page
    return not target.is_file() or bool(heading and heading not in headings(target))


def test_links_lead_somewhere() -> None:
    broken = {
        page.relative_to(ROOT).as_posix(): f"{file}#{heading}"
        for page in PAGES
        for file, heading in links(page)
        if leads_nowhere(page, file, heading)
    }

    assert len(PAGES) > 100
    assert broken == {}


def test_the_index_has_every_page_once() -> None:
    indexed = [file for file, _ in links(DOCS / "README.md") if not file.startswith("..")]

    pages = {page.name for page in DOCS.glob("*.md")} - {"README.md"}
    assert sorted(indexed) == sorted(pages | {"decisions/README.md"})


def test_every_page_of_the_root_can_be_reached_from_the_readme() -> None:
    linked = {file for file, _ in links(ROOT / "README.md")}

    assert {page.name for page in ROOT.glob("*.md")} - {"README.md"} <= linked


def test_every_path_that_contributing_names_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:layers|tests|functions|local|docs|requirements)/[\w./*-]*[\w*/]", text))

    assert len(named) > 30
    assert [path for path in sorted(named) if not list(ROOT.glob(path))] == []
