"""`relay segments imports`."""

from datetime import timedelta
from typing import Any

from tests.unit.cli.stack_fake import NOW, FakeDoor, Terminal, text_of


def picture(name: str = "i-1", state: str = "needs-confirmation", **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "segment": "crm/vip",
        "state": state,
        "reason": "900 of 1000 members would leave" if state == "needs-confirmation" else None,
        "at": text_of(NOW),
        "begun_at": text_of(NOW),
        "ended_at": None,
        "applied": None,
        "counts": {"rows": 101, "entered": 1, "leaving": 900, "broken": 1},
        "broken": [{"part": "vip.csv", "line": 7, "reason": "has too many columns"}],
        "confirmed_by": None,
        **more,
    }


def test_imports_are_listed(relay: Terminal, door: FakeDoor) -> None:
    door.answers["imports"] = {
        "imports": [picture(), picture("i-0", "done", at=text_of(NOW - timedelta(days=1)), ended_at=text_of(NOW))]
    }
    assert relay("segments", "imports", "list", "crm/vip").lines[1:] == [
        "i-1\tcrm/vip\tneeds-confirmation\t2026-11-27 12:00 UTC\t0 s ago\t101\t1\t0\t1",
        "i-0\tcrm/vip\tdone\t2026-11-26 12:00 UTC\t0 s ago\t101\t1\t0\t1",
    ]
    door.answers["imports"] = {"imports": []}
    assert relay("segments", "imports", "list").lines == ["Nothing was imported yet."]
    assert relay("segments", "imports", "list", "mix/77").lines == ["Nothing was imported into mix/77 yet."]


def test_an_import_is_shown_with_its_broken_rows(relay: Terminal, door: FakeDoor) -> None:
    door.answers["import"] = picture()
    ended = relay("segments", "imports", "show", "i-1")
    assert ended.code == 3
    assert ended.lines[0] == "Import i-1 of crm/vip needs confirmation: 900 of 1000 members would leave."
    assert "relay segments imports confirm i-1" in ended.out
    assert "vip.csv\t7\thas too many columns" in ended.lines
    name = "relay-20261127T095552Z-f3398e/part=1/vip.csv"
    door.answers["import"] = picture(broken=[{"part": name, "line": 8, "reason": "has no status"}])
    assert "part=1/vip.csv\t8\thas no status" in relay("segments", "imports", "show", "i-1").lines
    door.answers["import"] = picture(state="refused")
    assert relay("segments", "imports", "show", "i-1").code == 1
    door.answers["import"] = picture(state="removing")
    assert relay("segments", "imports", "show", "i-1").lines[0] == "Import i-1 of crm/vip takes out who is missing."


def test_an_import_is_confirmed_once_somebody_agrees(relay: Terminal, door: FakeDoor) -> None:
    door.answers |= {"import": picture(), "confirm_import": {"done": True, "reason": None}}
    assert relay("segments", "imports", "confirm", "i-1", keys="no\n").code == 3
    assert "confirm_import" not in [question["ask"] for _, question in door.asked]
    ended = relay("segments", "imports", "confirm", "i-1", keys="yes\n")
    assert (ended.code, "Take 900 members out of crm/vip?" in ended.err) == (0, True)
    assert door.asked[-1] == ("admin", {"ask": "confirm_import", "version": 1, "id": "i-1"})
    door.answers["import"] = picture(state="done")
    assert relay("segments", "imports", "confirm", "i-1", "--yes").code == 1


def test_an_import_is_cancelled_or_the_reason_is_told(relay: Terminal, door: FakeDoor) -> None:
    door.answers["cancel_import"] = {"done": True, "reason": None}
    assert relay("segments", "imports", "cancel", "i-1").lines == ["Import i-1 is cancelled."]
    door.answers["cancel_import"] = {"done": False, "reason": "import i-1 is over (done)"}
    ended = relay("segments", "imports", "cancel", "i-1")
    assert (ended.code, "is over (done)" in ended.err) == (1, True)
