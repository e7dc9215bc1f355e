import json
from pathlib import Path

import pytest

from tests.unit.cli.stack_fake import CODES, DESCRIBE, STATUS, FakeDoor, Terminal


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
            "codes": CODES,
            "validate": {"errors": [], "warnings": []},
            "check": {"well": True, "findings": []},
        },
        secrets={
            "sources/crm": {"dialect": "relay-json", "auth": "bearer", "secret": "s3cret-token", "profile_key": "identities.crm"},
            "sources/shop": {"dialect": "relay-json", "auth": "bearer", "secret": "other-token", "profile_key": "identities.shop"},
            "connections/newsletter": {"destination": "activecampaign", "display_name": "Newsletter", "privacy_consent": "I agree", "api_host": "x.api-us1.com", "api_key": "k3y"},
            "connections/product": {"destination": "gainsight_px", "display_name": "Product", "privacy_consent": "I agree", "region": "eu", "api_key": "px-k3y"},
        },
        exports={"newsletter/vip": json.dumps(export), "newsletter/trial": json.dumps({**export, "state": "paused"})},
    )  # fmt: skip


@pytest.fixture
def relay(door: FakeDoor, tmp_path: Path) -> Terminal:
    return Terminal(door, tmp_path)
