"""A body that was posted is followed to the destination."""

import json
from datetime import datetime
from typing import Any

import pytest

from relay.domain import changes
from relay.domain.identity import CLOCK_MARGIN
from relay.queues import Message
from relay.settings.sources import SourceSettings
from relay.sources.intake import take_in
from relay.stores import profiles
from relay.stores.directory import Entry
from relay.workers.operators import following
from tests.fakes.bench import CONNECTION, KEYED, LAPSED, OTHER_CONNECTION, Bench

SHOP = SourceSettings("shop", "relay-json", "bearer", ("token-1",), "identities.crm")
MAIN, OTHER = f"{CONNECTION}/main", f"{OTHER_CONNECTION}/main"


class ShopBench(Bench):
    """A bench with a source whose bodies can be read and routed."""

    def __init__(self) -> None:
        super().__init__()
        self.settings.source = lambda name: SHOP  # type: ignore[method-assign]

    def post(self, body: str) -> datetime:
        """Let route merge what ingest makes of a body; return when it was received."""
        posted_at = self.clock.now()
        taken = take_in(body.encode(), source=SHOP, identity_hash=KEYED, received_at=posted_at, request_id="r-1")
        for message in taken.messages:
            assert changes.from_json(message).id == "r-1"
        records = self.received([Message(message) for message in taken.messages])
        self.stack.directory.keep(CONNECTION, Entry("tool", True, 2))
        assert self.stack.router().route(records) == []
        return posted_at


def body_of(*entries: dict[str, Any]) -> str:
    return json.dumps({"changes": entries})


def joining(number: int, segment: str = "vip", **attributes: Any) -> dict[str, Any]:
    return {
        "identities": {"crm": str(number)},
        "attributes": {"email": f"{number}@x.example", **attributes},
        "memberships": [{"segment": segment, "status": "realized", "at": "2026-03-01T11:00:00Z"}],
    }


@pytest.fixture
def bench() -> ShopBench:
    return ShopBench()


def follow(bench: Bench, body: str, received_at: datetime, **more: Any) -> Any:
    return bench.ask("follow", source="shop", body=body, received_at=received_at.isoformat(), **more)


def test_a_body_is_followed_from_the_request_to_the_destination(bench: ShopBench) -> None:
    body = body_of(joining(1), {"attributes": {"email": "nobody@x.example"}})
    at = bench.clock.now()
    waiting = follow(bench, body, at)
    first, second = waiting["changes"]
    assert (first["rejected"], first["merged"], first["profile"], first["exports"]) == (None, "waiting", None, [])
    assert (second["rejected"], second["merged"]) == ("no_identity", False)
    assert not waiting["settled"]

    bench.post(body)
    merged = follow(bench, body, at)
    [export] = merged["changes"][0]["exports"]
    assert (merged["changes"][0]["merged"], merged["changes"][0]["profile"]) == (True, KEYED("shop", "1"))
    assert (export["export"], export["state"], export["open"], merged["settled"]) == (MAIN, "waiting", True, False)

    bench.work_off()
    done = follow(bench, body, at)
    [export] = done["changes"][0]["exports"]
    assert (export["state"], export["code"], done["settled"], done["next"]) == ("delivered", None, True, None)
    assert bench.tool.holds() == {"1@x.example": {}}
    [stored] = profiles.load(bench.database, [KEYED("shop", "1")])
    assert stored is not None
    assert stored.trace == "r-1"
    assert {tuple(line["traces"]) for line in bench.logged() if line["message"] == "attempt"} == {("r-1",)}


def test_the_same_body_again_changes_nothing_at_the_destination(bench: ShopBench) -> None:
    body = body_of(joining(1))
    bench.post(body)
    bench.work_off()
    bench.clock.time += CLOCK_MARGIN * 3
    at = bench.post(body)
    bench.work_off()
    [change] = follow(bench, body, at)["changes"]
    assert (change["merged"], change["exports"][0]["state"]) == (True, "unchanged")


def test_what_was_overtaken_is_stale(bench: ShopBench) -> None:
    body = body_of(joining(1, plan="pro"))
    at = bench.post(body)
    bench.clock.time += CLOCK_MARGIN * 3
    bench.post(body_of(joining(1, plan="free")))
    assert follow(bench, body, at)["changes"][0]["merged"] == "stale"


def test_what_a_destination_or_the_mapping_rejects_is_told_with_the_code(bench: ShopBench) -> None:
    bench.tool.refuses = {"1@x.example"}
    body = body_of(joining(1), {**joining(2), "attributes": {}})
    at = bench.post(body)
    bench.work_off()
    told = follow(bench, body, at)
    assert [(one["exports"][0]["state"], one["exports"][0]["code"]) for one in told["changes"]] == [
        ("rejected", "unknown_user"),
        ("rejected", "no_email"),
    ]
    assert told["settled"]


def test_a_profile_set_aside_is_rejected(bench: ShopBench) -> None:
    bench.tool.script = [KeyError()]
    body = body_of(joining(1))
    at = bench.post(body)
    bench.work_off()
    [export] = follow(bench, body, at)["changes"][0]["exports"]
    assert (export["state"], export["code"]) == ("rejected", "defect")


def test_what_a_run_has_to_send_is_not_waited_for(bench: ShopBench) -> None:
    body = body_of(joining(1, segment="lapsed"))
    told = follow(bench, body, bench.post(body))
    [export] = told["changes"][0]["exports"]
    assert (export["export"], export["state"], export["open"], told["settled"]) == (OTHER, "waiting", False, True)
    assert LAPSED == "shop/lapsed"


def test_a_segment_that_no_export_names_goes_nowhere(bench: ShopBench) -> None:
    body = body_of(joining(1, segment="else"))
    told = follow(bench, body, bench.post(body))
    assert (told["changes"][0]["merged"], told["changes"][0]["exports"]) == (True, [])


def test_a_long_body_is_followed_in_pages(bench: ShopBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "AT_A_TIME", 2)
    body = body_of(*map(joining, range(5)))
    at = bench.post(body)
    found: list[int] = []
    after: dict[str, str] = {}
    while True:
        told = follow(bench, body, at, **after)
        found += [one["position"] for one in told["changes"]]
        if told["next"] is None:
            break
        after = {"after": told["next"]}
    assert found == [0, 1, 2, 3, 4]


def test_a_body_that_ingest_refuses_is_refused_with_its_reasons(bench: ShopBench) -> None:
    sent = {"source": "shop", "received_at": "2026-03-01T12:00:00Z"}
    error = bench.refused("follow", body="{}", **sent)
    assert error["field"] == "body"
    assert "changes" in error["what"]
    assert (
        bench.refused("follow", body="{}", source="shop", received_at="2026-03-01T12:00:00")["field"] == "received_at"
    )


def test_parts_that_were_left_out_are_counted(bench: ShopBench) -> None:
    body = body_of({**joining(1), "colour": "red"})
    assert follow(bench, body, bench.post(body))["left_out"] == 1
