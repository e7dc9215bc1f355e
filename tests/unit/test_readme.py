"""What the README shows is what the relay takes: its examples go through the real settings and the real ingest."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from relay.domain.keyed_hash import KeyedHash
from relay.settings.settings import Settings
from relay.sources.intake import take_in
from tests.fakes.clock import FakeClock
from tests.fakes.secrets import FakeParameters, FakeSecrets

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
EXAMPLES = dict(re.findall(r"<!-- ([\w -]+) -->\n```json\n(.*?)```", README, re.DOTALL))


def settings() -> Settings:
    secrets, parameters = FakeSecrets(), FakeParameters()
    secrets["audience-relay/sources/crm"] = EXAMPLES["source"]
    for destination in ("activecampaign", "gainsight_px"):
        connection = destination.replace("_", "-")
        secrets[f"audience-relay/connections/{connection}"] = EXAMPLES[f"{destination} connection"]
        parameters[f"/audience-relay/exports/{connection}/main"] = EXAMPLES[f"{destination} export"]
    return Settings("audience-relay", secrets=secrets, ssm=parameters, clock=FakeClock())


def test_the_source_example_is_valid() -> None:
    assert settings().source("crm").dialect == "adobe-http"


@pytest.mark.parametrize("connection", ["activecampaign", "gainsight-px"])
def test_the_connection_and_export_examples_are_valid(connection: str) -> None:
    listing = settings().exports()

    assert not listing.problems
    assert listing.valid[f"{connection}/main"].active


def test_the_message_example_is_taken_whole() -> None:
    crm = replace(settings().source("crm"), dialect="relay-json", profile_key="identities.crm")

    taken = take_in(
        EXAMPLES["relay-json"].encode(), source=crm, identity_hash=KeyedHash("k"), received_at=datetime.now(UTC)
    )

    assert (taken.taken.accepted, list(taken.taken.rejections)) == (1, [])


def test_every_make_target_it_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    named = {
        name for pair in re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)`", README, re.MULTILINE) for name in pair if name
    }

    assert {"run", "test", "up", "down"} <= named <= targets
