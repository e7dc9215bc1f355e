"""The deployed endpoint answers what its description says, whatever is sent to it."""

import requests
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.stack.world import World
from tests.webhooks import METHODS, flaw, raw_bodies

EXAMPLES = 60
"""Each takes some 30 ms."""


def test_no_answer_outside_the_description_and_no_5xx(world: World) -> None:
    world.put_shop()
    world.put_adobe()
    world.administrator.wait_until_seen()
    seen: set[int] = set()

    @settings(max_examples=EXAMPLES, deadline=None, database=None)
    @given(
        raw=raw_bodies,
        source=st.sampled_from(["shop", "adobe", "shop", "adobe", "nobody", ""]),
        is_proven=st.sampled_from([True, True, False]),
        method=st.just("post") | st.sampled_from(METHODS),
    )
    @example(b"{}", "shop", False, "post")
    @example(b"{}", "adobe", False, "post")
    def play(raw: bytes, source: str, is_proven: bool, method: str) -> None:
        platform = world.adobe if source == "adobe" else world.shop
        name = f"{world.name}-nobody" if source == "nobody" else platform.source
        # The library that signs takes texts alone.
        can_be_signed = raw.decode(errors="replace").encode() == raw
        proof = platform.proof(raw) if is_proven and can_be_signed else {}
        headers = {"Content-Type": "application/json", **proof}
        address, path = f"{world.stack.webhook_url}/{name}", "/webhooks/{source}"
        if not source:
            address, path = world.stack.webhook_url, "/webhooks"
        answer = requests.request(method, address, data=raw, headers=headers, timeout=30)
        assert flaw(answer.status_code, answer.headers, answer.text, method, path) is None
        assert answer.status_code < 500
        seen.add(answer.status_code)

    play()
    assert seen >= {202, 401, 404, 405}
    world.stored()
