"""What a vendor shows in pages is read to its end, wherever in them the one record is that matters."""

from __future__ import annotations

import pytest

from tests.contract.conftest import PAGED, name_of
from tests.contract.playing import errors_in
from tests.contract.subject import Subject
from tests.contract.test_membership import people


@pytest.mark.parametrize("kind", PAGED, ids=name_of)
@pytest.mark.parametrize("pages", [1, 2])
@pytest.mark.parametrize("place", ["last", "first of the next"])
def test_the_record_that_matters_is_found_on_any_page(kind: type[Subject], pages: int, place: str) -> None:
    subject = kind()
    assert kind.page_size is not None
    subject.crowd(pages * kind.page_size - (place == "last"))
    assert errors_in(subject.destination.check(subject.account(), [subject.export])) == []
    assert subject.deliver([subject.step(1), subject.step(2)]) == {}
    assert subject.inside() == people(subject, 1, 2)
    for joins, left in ((False, {2}), (True, {1, 2}), (False, {2})):
        if joins and not kind.comes_back:
            return
        subject.time.pass_(60)
        assert subject.deliver([subject.step(1, joins=joins, after=10)]) == {}
        assert subject.inside() == people(subject, *left)
