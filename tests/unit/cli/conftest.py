import json
from pathlib import Path

import pytest

from tests.unit.cli.stack_fake import CODES, DESCRIBE, STATUS, FakeDoor, Terminal


def source(secret: str, profile_key: str) -> dict[str, str]:
    return {"dialect": "relay-json", "auth": "bearer", "secret": secret, "profile_key": profile_key}


def connection(destination: str, **fields: str) -> dict[str, str]:
    return {"destination": destination, "display_name": "An account", "privacy_consent": "I agree", **fields}


@pytest.fixture
def door() -> FakeDoor:
    export = {
        "state": "active",
        "segments": ["crm/vip", "crm/trial"],
        "mapping": {"email": "attributes.email"},
        "options": {"list_id": "7", "on_exit": "keep"},
    }
    return FakeDoor(
        answers={
            "status": STATUS,
            "describe": DESCRIBE,
            "codes": {"codes": CODES},
            "validate": {"errors": [], "warnings": []},
            "check": {"well": True, "findings": []},
        },
        secrets={
            "sources/crm": source("s3cret-token", "identities.crm"),
            "sources/shop": source("other-token", "identities.shop"),
            "connections/newsletter": connection("activecampaign", api_host="x.api-us1.com", api_key="k3y"),
            "connections/product": connection("gainsight_px", region="eu", api_key="px-k3y"),
        },
        exports={"newsletter/vip": json.dumps(export), "newsletter/trial": json.dumps({**export, "state": "paused"})},
    )


@pytest.fixture
def relay(door: FakeDoor, tmp_path: Path) -> Terminal:
    return Terminal(door, tmp_path)
