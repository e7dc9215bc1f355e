"""What metrics show of rejections by reason, and of what a connection may call."""

import pytest

from relay.breaker.pace import Pace, limits
from relay.destinations.contract import Quota
from tests.fakes.bench import CONNECTION, MINUTE, Bench
from tests.fakes.observing import counted

RATE = Quota("rest", 4, MINUTE / 60, a_day=1000)


@pytest.mark.parametrize("imports", [False, True], ids=["answers", "imports"])
def test_rejections_are_shown_by_their_code(imports: bool, capsys: pytest.CaptureFixture[str]) -> None:
    bench = Bench(imports=imports)
    bench.tool.refuses = {"2@x.example"}
    bench.store(1, email="odd")
    bench.store(2, email="2@x.example")
    bench.consume(bench.look(1, 2))
    bench.work_off()
    lines = counted(capsys.readouterr().out, "RejectionsByCode")
    found = sorted((line["connection"], line["outcome"], line["value"]) for line in lines)
    assert found == [(CONNECTION, "malformed_email", 1), (CONNECTION, "unknown_user", 1)]


def test_what_a_connection_may_call_is_shown_once_it_has_called(capsys: pytest.CaptureFixture[str]) -> None:
    bench = Bench()
    bench.tick()
    assert counted(capsys.readouterr().out, "CallsAllowed") == []
    pace = Pace(bench.database, bench.clock)
    pace(CONNECTION, RATE)
    pace(CONNECTION, Quota("bulk", 97, MINUTE))
    bench.tick(after=MINUTE)
    lines = counted(capsys.readouterr().out, "CallsAllowed")
    assert [(line["connection"], line["value"]) for line in lines] == [(CONNECTION, 240)]
    widest, other = limits(bench.database, CONNECTION, bench.clock.now())
    assert widest._replace(used=None) == ("rest", 240, 1000, None)
    assert other == ("bulk", 97, None, None)
