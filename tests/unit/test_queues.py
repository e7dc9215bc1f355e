"""The door to SQS: sizes, deduplication, refusals and what Lambda hands over."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.problems import Busy
from relay.queues import MAX_BATCH_BYTES, Message, Queue, failures, parse_records
from tests.fakes.clock import FakeClock
from tests.fakes.queue import FakeQueueClient
from tests.fakes.secrets import refusal

STANDARD = "https://sqs.eu-west-1.amazonaws.com/1/changes"
FIFO = "https://sqs.eu-west-1.amazonaws.com/1/newsletter.fifo"


def queue(client: FakeQueueClient, url: str = STANDARD, clock: FakeClock | None = None) -> Queue:
    return Queue(url, client=client, clock=clock or FakeClock())


@given(st.lists(st.integers(0, 400_000), max_size=30))
def test_all_messages_are_sent_in_order_within_the_limits_of_a_call(sizes: list[int]) -> None:
    client = FakeQueueClient()

    queue(client).send([Message({"n": number, "x": "x" * size}) for number, size in enumerate(sizes)])

    assert [body["n"] for body in client.bodies] == list(range(len(sizes)))


def test_ten_small_messages_are_one_call() -> None:
    client = FakeQueueClient()
    queue(client).send([Message({"n": number}) for number in range(21)])
    assert [len(call) for call in client.calls] == [10, 10, 1]


def test_nothing_to_send_is_no_call() -> None:
    client = FakeQueueClient()
    queue(client).send([])
    assert client.calls == []


def test_characters_that_sqs_refuses_travel_escaped() -> None:
    client = FakeQueueClient()
    text = "\ud83d\ufffe\uffff\x00\x1f"
    queue(client).send([Message({"text": text})])
    assert client.sent[0]["MessageBody"].isascii()
    assert client.bodies == [{"text": text}]


def test_all_other_characters_travel_in_the_clear() -> None:
    """Escaped, each would count for six bytes or twelve."""
    client = FakeQueueClient()
    text = "\x7f\x80é\u2028\ud7ff\ue000\ufffd\U0001f600\U0010ffff"
    queue(client).send([Message({"text": text})])
    assert client.sent[0]["MessageBody"] == f'{{"text":"{text}"}}'


def test_equal_messages_on_a_fifo_queue_are_all_new() -> None:
    client = FakeQueueClient()
    queue(client, FIFO).send([Message({}, group="readers#1")] * 12)
    assert len({entry["MessageDeduplicationId"] for entry in client.sent}) == 12
    assert {entry["MessageGroupId"] for entry in client.sent} == {"readers#1"}


def test_a_standard_queue_takes_a_delay_and_no_deduplication() -> None:
    client = FakeQueueClient()
    queue(client).send([Message({}, delay=timedelta(minutes=1)), Message({})])
    assert client.sent[0]["DelaySeconds"] == 60
    assert set(client.sent[1]) == {"Id", "MessageBody"}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (FIFO, Message({})),
        (FIFO, Message({}, group="g", delay=timedelta(seconds=1))),
        (STANDARD, Message({}, delay=timedelta(minutes=16))),
        (STANDARD, Message({"x": "x" * MAX_BATCH_BYTES})),
        (STANDARD, Message({"x": float("nan")})),
    ],
)
def test_what_no_queue_would_take_is_a_defect_and_nothing_is_sent(url: str, message: Message) -> None:
    client = FakeQueueClient()
    with pytest.raises(ValueError):
        queue(client, url).send([Message({}, group="g"), message])
    assert len(client) == 0


def test_only_what_was_refused_is_sent_again_with_its_id() -> None:
    client, clock = FakeQueueClient([[1], [0]]), FakeClock()

    queue(client, FIFO, clock).send([Message({"n": number}, group="g") for number in range(3)])

    assert [len(call) for call in client.calls] == [3, 1, 1]
    assert sorted(body["n"] for body in client.bodies) == [0, 1, 2]
    assert client.calls[0][1] == client.calls[1][0] == client.calls[2][0]
    assert clock.slept == [0.1, 0.2]


def test_what_stays_refused_says_that_our_side_is_busy() -> None:
    client = FakeQueueClient([[0], [0], [0]])
    with pytest.raises(Busy, match="1 messages: InternalError"):
        queue(client).send([Message({})])


@pytest.mark.parametrize("error", [refusal("ServiceUnavailable"), EndpointConnectionError(endpoint_url="x")])
def test_a_queue_that_does_not_answer_is_busy(error: Exception) -> None:
    with pytest.raises(Busy) as caught:
        queue(FakeQueueClient([error])).send([Message({})])
    assert "ada@" not in str(caught.value)


@pytest.mark.parametrize(("seconds", "hidden"), [(90.7, 90), (-5, 0), (100_000, 43_200)])
def test_retry_later_hides_the_message(seconds: float, hidden: int) -> None:
    client = FakeQueueClient()
    queue(client).retry_later("handle", seconds)
    assert client.hidden == [("handle", hidden)]


def test_retry_later_does_not_mind_a_refusal() -> None:
    queue(FakeQueueClient([refusal("MessageNotInflight")])).retry_later("handle", 5)


def record(body: str, **attributes: Any) -> dict[str, Any]:
    return {
        "messageId": "m-1",
        "receiptHandle": "handle",
        "body": body,
        "attributes": {"ApproximateReceiveCount": "3", "SentTimestamp": "1767225600000", **attributes},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:relay-changes",
    }


def test_records_are_read() -> None:
    (received,) = parse_records({"Records": [record('{"a": 1}', MessageGroupId="g")]})

    assert (received.id, received.body, received.receive_count) == ("m-1", {"a": 1}, 3)
    assert (received.group, received.receipt_handle) == ("g", "handle")
    assert received.queue == "relay-changes"
    assert received.sent_at == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("body", ["", "{", "[]", "7", "[" * 100_000])
def test_an_unreadable_body_fails_alone(body: str) -> None:
    unreadable, fine = parse_records({"Records": [record(body), record('{"a": 1}')]})
    assert (unreadable.body, fine.body) == ({}, {"a": 1})
    assert fine.group is None


def test_failures_name_the_messages() -> None:
    assert failures(["m-1"]) == {"batchItemFailures": [{"itemIdentifier": "m-1"}]}
    assert failures([]) == {"batchItemFailures": []}


def _without_ann(body: dict[str, Any]) -> dict[str, Any] | None:
    rest = [one for one in body["people"] if one != "ann"]
    return {"people": rest} if rest else None


def test_a_queue_is_looked_through_and_its_messages_are_changed_or_dropped() -> None:
    client, clock = FakeQueueClient(), FakeClock()
    both, alone, other, odd = '{"people": ["ann", "bob"]}', '{"people": ["ann"]}', '{"people": ["cy"]}', "no JSON"
    client.waiting = [both, alone, other, odd]
    assert queue(client, clock=clock).rewrite(_without_ann, clock.now() + timedelta(seconds=1))
    assert client.bodies == [{"people": ["bob"]}]
    assert first_ids(client) == [f"id of {both}"]
    assert client.deleted == [both, alone]
    assert client.hidden == [(f"handle of {other}", 0), (f"handle of {odd}", 0)]


def first_ids(client: FakeQueueClient) -> list[str]:
    return [entry["MessageAttributes"]["first_message_id"]["StringValue"] for entry in client.sent]


def test_a_message_that_is_changed_once_more_keeps_its_first_id() -> None:
    client, clock = FakeQueueClient(), FakeClock()
    client.waiting = ['{"people": ["ann", "bob"]}']
    client.first_ids = {client.waiting[0]: "m-0"}
    assert queue(client, clock=clock).rewrite(_without_ann, clock.now() + timedelta(seconds=1))
    assert first_ids(client) == ["m-0"]


def test_a_queue_of_which_somebody_else_hides_messages_was_not_seen_to_the_end() -> None:
    client, clock = FakeQueueClient(), FakeClock()
    client.waiting, client.hidden_by_others = ['{"people": ["bob"]}'], 1
    assert not queue(client, clock=clock).rewrite(_without_ann, clock.now() + timedelta(seconds=1))
    assert client.hidden == [('handle of {"people": ["bob"]}', 0)]


def test_messages_that_stay_are_shown_again_ten_at_a_time_and_a_refusal_harms_nothing() -> None:
    client, clock = FakeQueueClient(script=[()] * 12 + [refusal("Throttling")]), FakeClock()
    client.waiting = [f'{{"people": ["bob {number}"]}}' for number in range(23)]
    assert queue(client, clock=clock).rewrite(_without_ann, clock.now() + timedelta(seconds=1))
    assert len(client.hidden) == 12


def test_a_queue_that_takes_too_long_was_not_seen_to_the_end() -> None:
    client, clock = FakeQueueClient(), FakeClock()
    client.waiting = ['{"people": ["ann"]}']
    assert not queue(client, clock=clock).rewrite(_without_ann, clock.now())
    assert client.deleted == []


def test_a_queue_that_cannot_be_looked_through_is_busy() -> None:
    client, clock = FakeQueueClient(), FakeClock()
    client.receive_fails = EndpointConnectionError(endpoint_url="x")
    with pytest.raises(Busy):
        queue(client, clock=clock).rewrite(_without_ann, clock.now() + timedelta(seconds=1))
