"""Real sockets on this machine: connections that stay open, lost answers, and an outage."""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sandboxes import names
from sandboxes.__main__ import parse
from sandboxes.activecampaign import create_app
from sandboxes.activecampaign.settings import ActiveCampaignConfig
from sandboxes.serving import serve

TOKEN = {"Api-Token": "k"}
ROOT = Path(__file__).parents[3]


@pytest.fixture
def connection() -> Iterator[http.client.HTTPConnection]:
    app = create_app(ActiveCampaignConfig(api_key="k", requests_per_second=1000))
    with serve(app) as address:
        opened = http.client.HTTPConnection(urlsplit(address).netloc, timeout=10)
        yield opened
        opened.close()


def call(
    connection: http.client.HTTPConnection, method: str, path: str, body: object = None
) -> tuple[int, dict[str, object]]:
    payload = None if body is None else json.dumps(body)
    connection.request(method, path, payload, TOKEN)
    answer = connection.getresponse()
    read: dict[str, object] = json.loads(answer.read())
    return answer.status, read


def test_one_connection_carries_many_calls(connection: http.client.HTTPConnection) -> None:
    assert call(connection, "GET", "/api/3/users/me")[0] == 200
    first = connection.sock
    # An early refusal must not leave its body behind as the next request.
    call(connection, "POST", "/_sandbox/faults", {"do": {"status": 503}})
    assert call(connection, "POST", "/api/3/contact/sync", {"contact": {"email": "ann@example.com"}})[0] == 503
    assert call(connection, "POST", "/api/3/contact/sync", {"contact": {"email": "ann@example.com"}})[0] == 201
    assert connection.sock is first


@pytest.mark.parametrize(("when", "contacts"), [("before", 0), ("after", 1)])
def test_a_drop_closes_the_connection(connection: http.client.HTTPConnection, when: str, contacts: int) -> None:
    call(connection, "POST", "/_sandbox/faults", {"match": {"path": "/api/3/"}, "do": {"drop": when}})
    with pytest.raises(ConnectionError):
        call(connection, "POST", "/api/3/contact/sync", {"contact": {"email": "ann@example.com"}})
    connection.close()
    assert call(connection, "GET", "/_sandbox/state")[1]["contact_count"] == contacts


def test_a_body_in_chunks_is_read(connection: http.client.HTTPConnection) -> None:
    parts = iter([b'{"contact": ', b'{"email": "ann@example.com"}}'])
    connection.request("POST", "/api/3/contact/sync", parts, TOKEN, encode_chunked=True)
    answer = connection.getresponse()
    assert (answer.status, bool(answer.read())) == (201, True)
    assert call(connection, "GET", "/api/3/users/me")[0] == 200


def test_an_answer_without_a_body_leaves_the_connection_usable() -> None:
    app, _host, _port = parse(["gainsight_px", "--settings", '{"api_key": "k"}'])
    with serve(app) as address:
        opened = http.client.HTTPConnection(urlsplit(address).netloc, timeout=10)
        call(opened, "POST", "/_sandbox/users", {"identifyId": "user-1"})
        key = {"X-APTRINSIC-API-KEY": "k"}
        for status in (204, 204):
            opened.request("PUT", "/v1/users/update", json.dumps({"identifyId": "user-1"}), key)
            answer = opened.getresponse()
            assert (answer.status, answer.read()) == (status, b"")
        opened.close()


def test_a_stopped_sandbox_cuts_open_connections() -> None:
    with serve(create_app(ActiveCampaignConfig(api_key="k"))) as address:
        opened = http.client.HTTPConnection(urlsplit(address).netloc, timeout=10)
        assert call(opened, "GET", "/api/3/users/me")[0] == 200
    with pytest.raises(ConnectionError):
        call(opened, "GET", "/api/3/users/me")


def test_the_command_prints_its_address_first_and_ends_on_terminate() -> None:
    settings = {"api_key": "k", "lists": {"7": "List 7", "8": "News"}}
    arguments = ["activecampaign", "--port", "0", "--settings", json.dumps(settings)]
    command = [sys.executable, "-m", "sandboxes", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:")
        opened = http.client.HTTPConnection(urlsplit(line.split()[-1]).netloc, timeout=10)
        lists = call(opened, "GET", "/_sandbox/state")[1]["lists"]
        opened.close()
        process.terminate()
        assert process.wait(10) == 0
    assert lists == {"7": "List 7", "8": "News"}


def test_the_options_of_the_command_reach_the_sandbox() -> None:
    settings = '{"unknown_users": "reject", "max_identities": 50, "attributes": {"vip": "BOOLEAN"}}'
    app, host, port = parse(["gainsight_px", "--port", "9102", "--time-scale", "20", "--settings", settings])
    account = app.extensions["sandbox"]
    assert (host, port, account.clock.wall_seconds(60)) == ("127.0.0.1", 9102, 3)
    assert (account.config.unknown_users, account.config.max_identities) == ("reject", 50)
    assert account.config.attributes == {"vip": "BOOLEAN"}
    app, _host, _port = parse(
        ["activecampaign", "--settings", '{"invisible_lists": [9], "excluded": ["Ann@example.com"]}']
    )
    config = app.extensions["sandbox"].config
    assert (config.invisible_lists, config.excluded) == ({9}, {"ann@example.com"})


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["elsewhere"],
        ["activecampaign", "--settings", "[]"],
        ["activecampaign", "--settings", "{"],
        ["activecampaign", "--settings", '{"colour": "red"}'],
        ["activecampaign", "--settings", '{"wrong_key": "500"}'],
    ],
)
def test_the_command_refuses_what_it_does_not_know(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    assert "usage: python -m sandboxes" in capsys.readouterr().err


def test_every_sandbox_starts_as_its_settings_say_by_default() -> None:
    assert set(names()) >= {"activecampaign", "gainsight_px"}
    for name in names():
        app, _host, _port = parse([name])
        assert app.test_client().get("/_sandbox/state?summary=true").status_code == 200
