"""`relay queues`."""

from datetime import timedelta

from relay_cli.door import QueueMessage
from relay_cli.failures import AwsRefused
from tests.unit.cli.stack_fake import NOW, STATUS, FakeDoor, Terminal, text_of

ATTEMPTS = [
    {
        "message": "m-1",
        "error": "KeyError",
        "places": ["relay/app.py:1", "relay/merge.py:9"],
        "receive_count": 10,
        "at": text_of(NOW),
    },
    {"message": "m-9", "error": "busy", "places": [], "receive_count": 3, "at": text_of(NOW)},
]


def lying() -> list[QueueMessage]:
    return [QueueMessage("m-1", NOW - timedelta(hours=2), 11), QueueMessage("m-2", None, 4)]


def test_queues_are_listed(relay: Terminal) -> None:
    assert "audience-relay-changes-dlq\tdead letters\t2\t0\t0\t2 h" in relay("queues", "list").lines


def test_what_lies_in_a_dead_letter_queue_is_shown_with_the_reason(relay: Terminal, door: FakeDoor) -> None:
    door.lying["changes-dlq"] = lying()
    door.answers["attempts"] = {"attempts": ATTEMPTS}

    ended = relay("queues", "list", "changes-dlq")

    assert door.asked[-1][1]["queue"] == "audience-relay-changes"
    assert ended.lines[2:] == [
        "m-1\t2 h ago\t10\tKeyError\t2026-11-27 12:00 UTC\trelay/merge.py:9",
        "m-2\t-\t4\tnot recorded\t-\t-",
    ]


def test_a_message_that_was_written_again_has_the_reason_of_its_first_id(relay: Terminal, door: FakeDoor) -> None:
    door.lying["changes-dlq"] = [QueueMessage("m-7", NOW, 0, "m-1")]
    door.answers["attempts"] = {"attempts": ATTEMPTS}

    assert relay("queues", "list", "changes-dlq").lines[2].startswith("m-7\t0 s ago\t10\tKeyError")


def test_who_may_not_look_into_the_queue_sees_the_recorded_reasons(relay: Terminal, door: FakeDoor) -> None:
    door.answers["attempts"] = {"attempts": ATTEMPTS}
    door.denied["messages"] = AwsRefused("No.", "sqs:ReceiveMessage")

    ended = relay("queues", "list", "audience-relay-changes-dlq", "--json")

    assert [one["message"] for one in ended.json_lines] == ["m-1", "m-9"]
    assert "You may not look into the queue" in ended.err


def test_an_empty_dead_letter_queue(relay: Terminal, door: FakeDoor) -> None:
    door.answers["attempts"] = {"attempts": []}

    assert relay("queues", "list", "activecampaign-dlq.fifo").lines == ["Nothing lies in activecampaign-dlq.fifo."]


def test_messages_that_do_not_show_themselves_are_told_of(relay: Terminal, door: FakeDoor) -> None:
    door.answers["attempts"] = {"attempts": []}
    queues = [{**one, "messages": 120, "in_flight": 3} for one in STATUS["queues"]]
    door.answers["status"] = {**STATUS, "queues": queues}
    door.lying["changes-dlq"] = lying()

    ended = relay("queues", "list", "changes-dlq")

    assert len(ended.lines) == 4
    assert ended.err.splitlines() == [
        "About 121 more messages lie there.",
        "3 of them are hidden: somebody looks at them, or puts them back. Look again in a minute.",
    ]
    door.lying["changes-dlq"] = []
    assert relay("queues", "list", "changes-dlq").lines == []


def test_messages_are_put_back_once_somebody_agrees(relay: Terminal, door: FakeDoor) -> None:
    door.lying |= {"changes-dlq": lying(), "activecampaign-dlq.fifo": lying()}
    assert relay("queues", "redrive", "changes-dlq", keys="no\n").code == 3
    assert len(door.lying["changes-dlq"]) == 2

    ended = relay("queues", "redrive", "changes-dlq", keys="y\n")
    fifo = relay("queues", "redrive", "activecampaign-dlq.fifo", "--yes", "--json")

    assert (ended.code, ended.lines) == (0, ["2 messages are back in changes."])
    assert fifo.json == {"queue": "activecampaign-dlq.fifo", "moved": 2}
    assert {name: len(messages) for name, messages in door.lying.items()} == {
        "changes-dlq": 0,
        "changes": 2,
        "activecampaign-dlq.fifo": 0,
        "activecampaign.fifo": 2,
    }


def test_events_of_schedules_cannot_go_back(relay: Terminal, door: FakeDoor) -> None:
    ended = relay("queues", "redrive", "export-dlq", "--yes")

    assert (ended.code, "relay run EXPORT" in ended.err) == (1, True)


def test_a_dead_letter_queue_is_emptied_once_somebody_agrees(relay: Terminal, door: FakeDoor) -> None:
    door.lying["changes-dlq"] = lying()
    assert relay("queues", "purge", "changes-dlq").code == 3
    assert len(door.lying["changes-dlq"]) == 2

    ended = relay("queues", "purge", "changes-dlq", "--yes")

    assert (ended.lines, door.lying["changes-dlq"]) == (["changes-dlq is empty."], [])
