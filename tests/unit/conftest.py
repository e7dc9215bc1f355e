from pathlib import Path

import pytest

UNIT = Path(__file__).parent
SANDBOXES = UNIT / "sandboxes"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Unit tests open no sockets; the sandboxes' own tests may talk to them on this machine."""
    for item in items:
        if SANDBOXES in item.path.parents:
            item.add_marker(pytest.mark.allow_hosts(["127.0.0.1", "localhost"]))
        elif UNIT in item.path.parents:
            # pytest hands over the items of every directory, not only of this one.
            item.add_marker(pytest.mark.disable_socket)
