"""Log lines hold known fields and no message of a foreign exception; metrics have bounded dimensions."""

import io
import json
from typing import Any

import pytest

from relay.domain.problems import Busy, ConnectionProblem
from relay.observability import MAX_LISTED, MAX_TEXT, WITHHELD, Count, Observability, during_call, places

PLANTED = "ada.lovelace@example.com"


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_structured(stream: io.StringIO) -> None:
    Observability(stream).info("call", connection="readers", operation="import", status=202, milliseconds=12.5)

    (line,) = lines(stream)
    assert (line["message"], line["level"]) == ("call", "INFO")
    assert line["location"].startswith("test_a_line_is_structured:")
    given = (line["connection"], line["operation"], line["status"], line["milliseconds"])
    assert given == ("readers", "import", 202, 12.5)


def test_fields_that_are_not_known_are_left_out(stream: io.StringIO) -> None:
    Observability(stream).info("accepted", email=PLANTED, accepted=2)  # type: ignore[call-arg]
    assert "email" not in lines(stream)[0]
    assert lines(stream)[0]["accepted"] == 2
    assert PLANTED not in stream.getvalue()


@pytest.mark.parametrize("value", [PLANTED, [PLANTED], {"a": PLANTED}])
def test_values_that_look_personal_are_withheld(stream: io.StringIO, value: Any) -> None:
    Observability(stream).info("accepted", segment=value)
    assert lines(stream)[0]["segment"] == WITHHELD


@pytest.mark.parametrize("personal", [PLANTED, "Ada Lovelace", "0032499987654"])
def test_a_foreign_exception_is_told_by_class_and_place(stream: io.StringIO, personal: str) -> None:
    try:
        json.loads("{}")[personal]
    except KeyError as error:
        Observability(stream).problem("defect", error, source="shop")
        given = places(error)

    (line,) = lines(stream)
    assert (line["level"], line["error"], line["source"]) == ("ERROR", "KeyError", "shop")
    assert line["at"] == given
    assert given[-1].startswith("test_observability.py:")
    assert personal not in stream.getvalue()


def test_our_own_problems_speak_for_themselves(stream: io.StringIO) -> None:
    Observability(stream).problem("stopped", ConnectionProblem("bad_key", "the key was refused"))

    (line,) = lines(stream)
    assert (line["level"], line["code"], line["reason"]) == ("WARNING", "bad_key", "the key was refused")
    assert line["actor"] == "administrator"
    assert "probed" in line["next_step"]


def test_waiting_for_our_own_side_is_no_warning(stream: io.StringIO) -> None:
    Observability(stream).problem("try again", Busy("pace", "the quota is used up"))

    (line,) = lines(stream)
    assert (line["level"], line["code"]) == ("INFO", "pace")


def test_a_count_is_an_embedded_metric(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POWERTOOLS_METRICS_NAMESPACE", raising=False)
    observability = Observability()

    observability.count(Count.ACCEPTED, 3, source="shop")
    observability.count(Count.REJECTED, 0, source="shop")
    observability.count(Count.DELIVERED, 1, profile="p-1")  # type: ignore[call-arg]

    accepted, delivered = map(json.loads, capsys.readouterr().out.splitlines())
    (directive,) = accepted["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "audience-relay"
    assert directive["Metrics"][0]["Name"] == "ChangesAccepted"
    assert accepted["source"] == "shop"
    assert "profile" not in delivered


def test_a_line_lists_requests_and_profiles_and_withholds_what_looks_personal(stream: io.StringIO) -> None:
    observe = Observability(stream)
    observe.info("attempt", traces=["r-1", PLANTED], profiles=["p" * 400, {"a": 1}] + ["p"] * 600)  # type: ignore[arg-type]
    [line] = lines(stream)
    assert line["traces"] == ["r-1", WITHHELD]
    assert (len(line["profiles"]), line["profiles"][:2]) == (MAX_LISTED, ["p" * MAX_TEXT, WITHHELD])


def test_lines_during_a_call_name_it(stream: io.StringIO) -> None:
    observe = Observability(stream)
    with during_call("c-1"):
        observe.info("destination call")
    observe.info("worked")
    assert [line.get("call") for line in lines(stream)] == ["c-1", None]
