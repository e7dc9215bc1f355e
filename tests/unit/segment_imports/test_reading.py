"""Pages of rows that are in memory together."""

from relay.domain.segment_imports import RowFault
from relay.files.rows import Row
from relay.segment_imports.reading import pages


def test_a_page_ends_after_so_many_rows_or_characters() -> None:
    rows: list[Row | RowFault] = [*(Row("a", line, {}, size) for line, size in enumerate([1, 9, 1, 1, 1, 1, 1]))]
    rows.append(RowFault("a", 8, "broken"))
    found = list(pages(rows, 3, 10))
    assert [len(page) for page in found] == [2, 3, 3]
    assert [len(page) for page in pages(rows, 4, 1)] == [1] * 8
    assert list(pages(rows[2:], 3, 10)) == found[1:]
