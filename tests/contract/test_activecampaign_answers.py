"""A conversation for every answer that ActiveCampaign is documented or reported to give, through the real HTTP door.

The table is in `activecampaign_answers`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter
from urllib3 import HTTPConnectionPool, HTTPResponse
from urllib3.connection import HTTPConnection
from urllib3.exceptions import MaxRetryError, NewConnectionError, ProtocolError

from relay.destinations import contract
from relay.destinations.activecampaign import DESTINATION
from relay.destinations.calling import HttpCaller
from relay.destinations.contract import Account, Finding, ImportReport, OpenImport
from relay.domain.problems import ConnectionProblem, Problem
from tests.contract.activecampaign_answers import (
    ANYWHERE,
    ME,
    ONLY_HERE,
    OPTIONAL,
    PERHAPS_OF_ONE,
    UNREADABLE_ANSWERS,
    WORK,
    Answer,
    Entry,
    Raises,
    Raw,
    Result,
    Trouble,
    Work,
)
from tests.contract.activecampaign_replies import AT, CONNECTION, REMOVE_TAG, TAG, UNSUBSCRIBE, codes, export, step
from tests.fakes.scripted_caller import DictNotes

TWO = [step(), step("b@example.com")]
BY_NAME = {work.name: work for work in WORK}


class ScriptedWire(BaseAdapter):
    """Answers requests with raw answers, in order."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        super().__init__()
        self.answers = list(answers)
        self.calls: list[str] = []

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Give the next answer as the network would."""
        path = str(request.path_url).partition("?")[0].partition("/api/3/")[2]
        self.calls.append(f"{request.method} {path}")
        assert self.answers, f"nobody expected {self.calls}"
        answer = self.answers.pop(0)
        if isinstance(answer, Trouble):
            raise _error_of(answer, request)
        is_text = isinstance(answer.body, str)
        body = answer.body if is_text else "" if answer.body is None else json.dumps(answer.body)
        kind = answer.kind if is_text else "application/json"
        response = requests.Response()
        response.status_code = answer.status
        response.headers = requests.structures.CaseInsensitiveDict({"Content-Type": kind, **answer.headers})
        response.raw = HTTPResponse(BytesIO(body.encode()), preload_content=False)
        response.url = str(request.url)
        response.request = request
        return response

    def close(self) -> None:
        """Nothing is open."""


def _error_of(trouble: Trouble, request: requests.PreparedRequest) -> requests.RequestException:
    if trouble is Trouble.TIMED_OUT:
        return requests.ReadTimeout("read timed out", request=request)
    if trouble is Trouble.DROPPED:
        return requests.ConnectionError(ProtocolError("Connection aborted."), request=request)
    host = "acme.api-us1.com"
    reason = NewConnectionError(HTTPConnection(host), "refused")
    return requests.ConnectionError(MaxRetryError(HTTPConnectionPool(host), "/", reason), request=request)


def account_over(wire: ScriptedWire) -> Account:
    """Return an account whose calls all go to the wire, unpaced."""
    session = requests.Session()
    session.mount("https://", wire)
    caller = HttpCaller("acme", pace=lambda quota: None, log=lambda *_, **__: None, session=session)
    return Account(CONNECTION, caller, DictNotes())


# What is done, and what comes of it in a form that is easy to write down: nothing that is empty.


def _answered(answer: contract.Answer) -> Result:
    found = {
        "refused": codes(answer.refused),
        "import": answer.import_id,
        "queued": answer.queued,
        "memo": bool(answer.memos),
    }
    return {name: value for name, value in found.items() if value}


def _reported(report: ImportReport) -> Result:
    found = {
        "finished": report.finished,
        "refused": codes(report.refused),
        "open": len(report.open),
        "again": sorted(report.again),
    }
    return {name: value for name, value in found.items() if value}


def _found(findings: Sequence[Finding]) -> Result:
    """The level of each finding; of those about the export by the word they are about."""
    words = {"list ": "list", "custom field": "fields"}
    return {
        next((short for word, short in words.items() if word in each.message), each.subject)
        if each.subject == "acme/news"
        else each.subject: each.level.value
        for each in findings
    }


def _opened(contacts: int | None, age: float = 10) -> OpenImport:
    return OpenImport("b-1", AT - timedelta(seconds=age), AT, contacts)


DOES: Mapping[str, Callable[[Account], Result]] = {
    "import two": lambda account: _answered(DESTINATION.send(account, export(), TWO)),
    "join": lambda account: _answered(DESTINATION.send(account, export(), [step()])),
    "leave": lambda account: _answered(DESTINATION.send(account, export(**UNSUBSCRIBE), [step(joins=False)])),
    "tag": lambda account: _answered(DESTINATION.send(account, export(), [step(tags="||Member||")])),
    "untag": lambda account: _answered(
        DESTINATION.send(account, export(**REMOVE_TAG), [step(joins=False, target=TAG)])
    ),
    "look at import": lambda account: _reported(DESTINATION.import_report(account, export(), _opened(2), TWO)),
    "look up": lambda account: _reported(
        DESTINATION.import_report(account, export(), _opened(None, 600), [step(first_name="Anna")])
    ),
    "check": lambda account: _found(DESTINATION.check(account, [export()])),
    "check fields": lambda account: _found(DESTINATION.check(account, [export({"fields.12": "x"})])),
}


def converse(work: Work, answers: Sequence[Answer], then: Sequence[Raw]) -> Result | Raises:
    """Have the conversation; return what came of it, after making sure that it went as scripted."""
    wire = ScriptedWire([*work.before, *answers, *then])
    came_of_it: Result | Raises
    said = ""
    try:
        came_of_it = DOES[work.does](account_over(wire))
    except Problem as problem:
        pause = getattr(problem, "retry_after", None)
        seconds = None if pause is None else pause.total_seconds()
        came_of_it = Raises(type(problem), problem.code, problem.taken, seconds)
        said = str(problem)
    assert "s3cret" not in said
    assert "@example.com" not in said
    assert wire.answers == [], "answers nobody asked for"
    first = len(work.before)
    assert wire.calls[first] == work.call
    return came_of_it


ALL_WORK = pytest.mark.parametrize("work", WORK, ids=lambda work: f"{work.name}: {work.call}")


@ALL_WORK
def test_the_documented_success(work: Work) -> None:
    assert converse(work, [work.good], work.after) == work.result


@ALL_WORK
@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_once(work: Work, status: int) -> None:
    """https://github.com/singer-io/tap-activecampaign: good keys meet a 403 now and then."""
    assert converse(work, [Raw(status, {"message": "Authentication issues"}), work.good], work.after) == work.result


def _everywhere() -> list[tuple[Work, Entry]]:
    own = {(entry.work, entry.name) for entry in ONLY_HERE}
    own |= {(work.name, name) for work in WORK if work.unread is not None for name, _ in UNREADABLE_ANSWERS}
    own |= {("values", name) for name in PERHAPS_OF_ONE}
    return [(work, entry) for work in WORK for entry in ANYWHERE if (work.name, entry.name) not in own]


@pytest.mark.parametrize(
    ("work", "entry"), _everywhere(), ids=[f"{work.name}: {entry.name}" for work, entry in _everywhere()]
)
def test_what_any_call_can_be_answered(work: Work, entry: Entry) -> None:
    expected = entry.comes_of_it
    assert isinstance(expected, Raises)
    assert converse(work, entry.answers, entry.then) == expected.at(work)


READS_OF_ONE = [work for work in WORK if work.unread is not None]


@pytest.mark.parametrize("work", READS_OF_ONE, ids=lambda work: work.name)
@pytest.mark.parametrize(("name", "answer"), UNREADABLE_ANSWERS, ids=[name for name, _ in UNREADABLE_ANSWERS])
def test_what_cannot_be_read_of_one_is_that_ones_alone_as_long_as_the_account_is_well(
    work: Work, name: str, answer: Raw
) -> None:
    assert work.unread is not None
    assert converse(work, [answer], [ME]) == work.unread
    code = "not_json" if name in ("a log-in page", "an empty 200") else "unexpected_answer"
    for of_account in (answer, Raw(200, {"ok": True})):
        of_code = "unexpected_answer" if isinstance(of_account.body, dict | list) else code
        came_of_it = converse(work, [answer], [of_account])
        assert came_of_it == Raises(ConnectionProblem, of_code, None if work.half_done else False)


@pytest.mark.parametrize("name", PERHAPS_OF_ONE)
def test_trouble_with_looking_one_up_that_stays_is_that_ones_alone_as_long_as_the_account_is_well(name: str) -> None:
    work = BY_NAME["values"]
    (entry,) = (entry for entry in ANYWHERE if entry.name == name)
    again = (*work.before[1:], *entry.answers)
    assert converse(work, [*entry.answers, ME, *again, ME], []) == work.unread
    of_account = [*entry.answers, *entry.answers]
    expected = entry.comes_of_it
    assert isinstance(expected, Raises)
    assert converse(work, of_account, []) == expected.at(work)


@pytest.mark.parametrize("entry", ONLY_HERE, ids=lambda entry: f"{entry.work}: {entry.name}")
def test_what_this_call_can_be_answered(entry: Entry) -> None:
    assert converse(BY_NAME[entry.work], entry.answers, entry.then) == entry.comes_of_it


# The table itself.


def test_the_table_is_complete() -> None:
    assert all(entry.source for entry in (*ANYWHERE, *ONLY_HERE))
    assert {entry.work for entry in ONLY_HERE} == set(BY_NAME) == {work.name for work in WORK}
    keys = [(entry.work, entry.name) for entry in ONLY_HERE]
    assert len(keys) == len(set(keys))
    for name in OPTIONAL:
        assert {"403", "404"} <= {entry.name for entry in ONLY_HERE if entry.work == name}


def test_another_answer_would_be_noticed() -> None:
    """The suite can fail: a good answer in the place of a bad one comes to something else."""
    for entry in ANYWHERE:
        work = BY_NAME["import"]
        assert converse(work, [work.good], work.after) != entry.comes_of_it
    shorter = replace(BY_NAME["sync"], before=())
    with pytest.raises(AssertionError):
        converse(shorter, [shorter.good], shorter.after)
