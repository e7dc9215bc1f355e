"""The log queries of the pages: the fields and the messages that they ask for are some that the code logs."""

import ast
import io
import json
import re
from pathlib import Path

import pytest

from relay.observability import Fields, Observability

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/log-queries.md"
QUERIES = re.findall(r"```logs\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
OF_CLOUDWATCH = {"@timestamp", "@message"}
SYNTAX = {
    *("fields", "filter", "stats", "sort", "desc", "by", "as", "in", "or", "like"),
    *("count", "sum", "min", "max", "avg", "latest", "bin"),
}


def logged() -> set[str]:
    """Return the fields of lines: those that are allowed, and those that every line has."""
    stream = io.StringIO()
    Observability(stream).problem("x", ValueError())
    return {*Fields.__annotations__, *json.loads(stream.getvalue())}


def texts() -> set[str]:
    """Return all texts of the code."""
    files = [*(ROOT / "layers/relay/relay").rglob("*.py"), *(ROOT / "functions").rglob("*.py")]
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def asked_for(query: str) -> set[str]:
    """Return the fields that a query names, without the names that it gives itself."""
    without_texts = re.sub(r'"[^"]*"', "", query)
    own = set(re.findall(r"\bas (\w+)", without_texts))
    words = set(re.findall(r"@?\b[a-zA-Z_]\w*", re.sub(r"\.\d+|\b\d+[hm]\b", "", without_texts)))
    return words - own - SYNTAX


def messages(query: str) -> set[str]:
    """Return the texts that a query compares messages with."""
    listed = re.findall(r"message in \[(.*?)\]", query)
    return {*re.findall(r'message = "([^"]*)"', query), *re.findall(r'"([^"]*)"', " ".join(listed))}


def test_the_page_has_its_queries() -> None:
    assert len(QUERIES) > 5
    assert len({message for query in QUERIES for message in messages(query)}) > 5


@pytest.mark.parametrize("query", QUERIES, ids=[query.split("\n")[0][:40] for query in QUERIES])
def test_a_query_asks_for_fields_and_messages_that_the_code_logs(query: str) -> None:
    assert asked_for(query) - OF_CLOUDWATCH <= logged()
    assert messages(query) <= texts()


def test_a_field_or_a_message_that_nothing_logs_is_noticed() -> None:
    query = 'fields @timestamp, colour\n| filter message = "was painted"\n| stats count(*) as found by code'
    assert asked_for(query) - OF_CLOUDWATCH - logged() == {"colour"}
    assert messages(query) - texts() == {"was painted"}
