"""How far a run got over time: few marks, which grow, and whose end is true."""

from hypothesis import given
from hypothesis import strategies as st

from relay.domain.runs import MOST_MARKS, Phase, Progress, Shard, marked, together

PAGES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 500)), min_size=1, max_size=200)


def series_of(pages: list[tuple[int, int]]) -> Progress:
    progress: Progress = ()
    seconds = 0
    for pause, seen in pages:
        seconds += pause
        progress = marked(progress, seconds, seen)
    return progress


@given(PAGES)
def test_a_series_is_bounded_grows_and_ends_with_all_that_was_looked_at(pages: list[tuple[int, int]]) -> None:
    progress = series_of(pages)
    assert len(progress) <= MOST_MARKS
    assert progress[-1] == (sum(pause for pause, _ in pages), sum(seen for _, seen in pages))
    moments = [seconds for seconds, _ in progress]
    assert moments == sorted(set(moments))
    assert [done for _, done in progress] == sorted(done for _, done in progress)


@given(st.lists(PAGES.map(series_of), max_size=5))
def test_the_sum_of_series_ends_with_the_sum_of_their_ends(series: list[Progress]) -> None:
    whole = together(series)
    assert (whole[-1][1] if whole else 0) == sum(one[-1][1] for one in series)
    assert [seconds for seconds, _ in whole] == sorted({seconds for one in series for seconds, _ in one})


def test_the_share_of_a_cursor_is_where_it_is_among_all_ids() -> None:
    assert Shard(0, Phase.DELIVER).share == 0
    assert Shard(0, Phase.DELIVER, after="80" + 30 * "0").share == 0.5
    assert Shard(0, Phase.DELIVER, after="ff" + 30 * "f").share < 1
    assert Shard(0, Phase.DELIVER, after="80" + 30 * "0", done=True).share == 1
