"""What a sender is answered, and that nothing is queued when it is not 202."""

import json
from collections.abc import Mapping

import pytest
import requests

from tests.stack.world import World

GOOD = {"changes": [{"identities": {"crm_id": "1"}}]}
TOO_MANY = json.dumps({"changes": [{}] * 5_001}).encode()
TOO_LONG = b'{"changes": [{"attributes": {"a": "' + b"x" * (5 * 1024 * 1024) + b'"}}]}'


def test_202_for_a_signed_request_and_it_is_queued(world: World) -> None:
    world.put_shop()
    with world.idle("Route"):
        answer = world.shop.post(GOOD)
        assert answer.status_code == 202
        assert answer.json()["accepted"] == 1
        assert world.operator.waiting("changesQueue") == 1
    world.stored()


def _proof(world: World, raw: bytes) -> Mapping[str, str]:
    return world.shop.proof(raw)


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"{", 400, "malformed_json"),
        (b'{"changes": [}', 400, "malformed_json"),
        (TOO_MANY, 413, "too_large"),
        (TOO_LONG, 413, "too_large"),
        (b'{"changes": [{"identities": 3}]}', 422, "wrong_shape"),
        (
            b'{"changes": [{"memberships": [{"segment": "s", "status": "maybe", "at": "2026-01-01T00:00:00Z"}]}]}',
            422,
            "wrong_shape",
        ),
    ],
    ids=["cut-off", "malformed", "too-many", "too-long", "identities", "status"],
)
def test_bad_bodies_are_problems_and_nothing_is_queued(world: World, raw: bytes, status: int, code: str) -> None:
    world.put_shop()
    _refused(world, raw, _proof(world, raw), status, code)


def test_401_without_or_with_a_wrong_signature(world: World) -> None:
    world.put_shop()
    raw = json.dumps(GOOD).encode()
    _refused(world, raw, {}, 401, "unauthorized")
    _refused(world, raw + b" ", _proof(world, raw), 401, "unauthorized")


def test_401_with_a_wrong_token(world: World) -> None:
    world.put_adobe()
    answer = world.adobe.post_raw(b"{}", {"Authorization": "Bearer wrong"})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_404_for_a_source_that_is_not_there(world: World) -> None:
    raw = json.dumps(GOOD).encode()
    _refused(world, raw, _proof(world, raw), 404, "unknown_source")


def test_another_method_or_an_address_without_a_source_gets_problem_details(world: World) -> None:
    world.put_shop()
    base = world.shop.stack.webhook_url
    shop = f"{base}/{world.shop.source}"
    for address, status, code in ((shop, 405, "method_not_allowed"), (base, 404, "no_source")):
        answer = requests.get(address, timeout=30)
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
        assert answer.json()["code"] == code


def test_the_previous_secret_is_taken_while_it_is_rotated(world: World) -> None:
    world.put_shop()
    assert world.shop.post(GOOD).status_code == 202
    old = world.shop.secret
    world.shop.secret = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="
    world.administrator.put_source(
        world.shop.source,
        dialect="relay-json",
        auth="standard-webhooks",
        secret=world.shop.secret,
        previous_secret=old,
        profile_key="identities.crm_id",
    )
    world.administrator.wait_until_seen()
    assert world.shop.post(GOOD).status_code == 202
    world.shop.secret = old
    assert world.shop.post(GOOD).status_code == 202


def _refused(world: World, raw: bytes, headers: Mapping[str, str], status: int, code: str) -> None:
    world.stored()
    with world.idle("Route"):
        answer = world.shop.post_raw(raw, headers)
        assert answer.status_code == status
        assert answer.headers["Content-Type"] == "application/problem+json"
        problem = answer.json()
        assert (problem["status"], problem["code"]) == (status, code)
        assert problem["detail"]
        assert (status == 422) == bool(problem.get("errors"))
        assert world.operator.waiting("changesQueue") == 0
