"""What would be taken of a body is shown without its values, and nothing is stored."""

import json
from typing import Any

import pytest

from relay.settings.sources import source_of
from tests.fakes.bench import Bench

TEXTS = {
    "dialect": "mapped",
    "auth": "bearer",
    "secret": "token-1",
    "profile_key": "identities.crm",
    "each": "rows",
    "identities": "{crm: id}",
    "attributes": "{email: email}",
    "segment": "audience",
    "in": "member",
    "at": "since",
}
ROW = {"id": 5, "email": "kim@x.example", "audience": "vip", "member": True, "since": "2026-03-01T11:00:00Z"}


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.settings.source = lambda name: source_of(name, TEXTS)  # type: ignore[method-assign]
    return bench


def take(bench: Bench, body: Any) -> Any:
    return bench.ask("take", source="any", body=json.dumps(body))


def test_it_shows_names_and_memberships_and_no_value(bench: Bench) -> None:
    answer = take(bench, {"rows": [ROW, {**ROW, "id": None}, {**ROW, "email": "\ud800"}]})
    first, second, _ = answer["changes"]
    assert (answer["accepted"], answer["rejected"], answer["left_out"]) == (2, 1, 1)
    assert [part["code"] for part in answer["left_out_parts"]] == ["unfit_attribute"]
    assert (first["identities"], first["attributes"], first["rejected"]) == (["crm"], ["email"], None)
    assert first["memberships"] == [{"segment": "any/vip", "realized": True, "at": "2026-03-01T11:00:00Z"}]
    assert (second["rejected"], second["profile"]) == ("no_identity", None)
    assert "kim@x.example" not in json.dumps(answer)


def test_a_body_that_ingest_refuses_is_refused_with_the_reason(bench: Bench) -> None:
    error = bench.question("take", source="any", body="{}")["error"]
    assert error["code"] == "wrong_shape"
    assert "each finds nothing" in error["what"]
