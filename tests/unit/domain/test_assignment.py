"""The assignment: it only grows before records name a profile, and remembers since when."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from relay.domain.assignment import Assignment, MappingRejection, Pair
from relay.domain.problems import RejectionKind

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
PAIRS = st.frozensets(st.builds(Pair, st.sampled_from(["list/7", "list/8"]), st.sampled_from(["a@x", "b@x", "c@x"])))


@given(st.lists(st.tuples(PAIRS, st.integers(1, 5)), min_size=1, max_size=6))
def test_growing_loses_no_pair_and_keeps_the_first_moment(steps: list[tuple[frozenset[Pair], int]]) -> None:
    assignment = Assignment()
    for minute, (pairs, settings) in enumerate(steps):
        before = assignment
        assignment = assignment.grown(pairs, settings, NOON + timedelta(minutes=minute))
        assert assignment.pairs == before.pairs | pairs
        assert assignment.settings == settings
        assert assignment.since == NOON


@given(PAIRS)
def test_it_is_kept_while_it_says_anything(pairs: frozenset[Pair]) -> None:
    assert Assignment(pairs).is_empty is (not pairs)
    rejection = MappingRejection(RejectionKind.DATA, "no_email", NOON)
    assert not Assignment(pairs, rejection=rejection).is_empty
