"""Each platform has a page, and what its page tells to try is answered as the page says."""

import base64
import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from functions.ingest.app import handler
from relay.domain.changes import from_json
from relay.observability import Observability
from relay.queues import Queue
from relay.settings.sources import Sources
from relay.sources.dialects import DIALECTS
from tests.fakes.clock import FakeClock
from tests.fakes.queue import FakeQueueClient
from tests.fakes.secrets import FakeSecrets

PAGES = Path(__file__).parents[3] / "docs/sources"
SECRET = "relay:a-long-random-secret"
SHOWN = 'curl() { printf "%s\\0" "$@"; }\n'


def keys_of(page: str) -> dict[str, str]:
    """Return the first value that the page gives for each key of the secret."""
    return dict(re.findall(r"^ *\| `([a-z_]+)` \| `([^`]+)`", page, re.MULTILINE))


def asked(script: str, source: str) -> dict[str, Any]:
    """Run a script whose curl only shows its arguments; return the event that API Gateway would make of them."""
    environment = {"PATH": "/usr/bin:/bin", "WEBHOOK_URL": "https://x/webhooks", "SOURCE": source, "SECRET": SECRET}
    run = subprocess.run(["bash", "-c", SHOWN + script], env=environment, capture_output=True, text=True, check=True)
    flag, url, *arguments = run.stdout.rstrip("\0").split("\0")
    assert (flag, url) == ("-sS", f"https://x/webhooks/{source}")
    given = list(zip(arguments[::2], arguments[1::2], strict=True))
    headers = dict(value.split(": ", 1) for option, value in given if option == "-H")
    for option, value in given:
        if option == "-u":
            headers["Authorization"] = f"Basic {base64.b64encode(value.encode()).decode()}"
    [body] = [value for option, value in given if option == "-d"]
    return {"pathParameters": {"source": source}, "headers": headers, "body": body}


def test_every_dialect_has_a_page() -> None:
    pages = {file.stem for file in PAGES.glob("*.md")}
    assert pages == {*DIALECTS, "recipes"} - {"relay-json"}


@pytest.mark.parametrize("dialect", sorted({*DIALECTS} - {"relay-json"}))
def test_what_a_page_tells_to_try_is_answered_as_it_says(dialect: str) -> None:
    page = (PAGES / f"{dialect}.md").read_text(encoding="utf-8")
    before, _, section = page.partition("\n## Try it\n")
    [script] = re.findall(r"```sh\n(.+?)```", section, re.DOTALL)
    [answer] = re.findall(r"```json\n(.+?)```", section, re.DOTALL)
    texts = keys_of(section) or keys_of(before.partition("\n## What is read")[0])
    assert texts["dialect"] == dialect
    secrets = FakeSecrets(**{f"relay/sources/{dialect}": {**texts, "secret": SECRET}})
    secrets["relay/stack/identity-key"] = "identity"
    client = FakeQueueClient()
    given = handler(
        asked(script, dialect),
        None,
        settings=Sources("relay", secrets=secrets, clock=FakeClock()),
        queue=Queue("https://sqs/changes", client=client, clock=FakeClock()),
        clock=FakeClock(),
        observability=Observability(io.StringIO()),
    )
    told = {key: value for key, value in json.loads(given["body"]).items() if key != "request_id"}
    assert (told, given["statusCode"] in (200, 202)) == (json.loads(answer), True)
    [change] = from_json(client.bodies[0]).changes
    assert len(change.profile_ids) == 1
    assert change.memberships
