from pathlib import Path

import pytest
from hypothesis import settings

# How long one example takes says more about what else the machine does than about the code.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

UNIT = Path(__file__).parent
ON_SOCKETS = {UNIT / "sandboxes", UNIT / "sockets"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Unit tests open no sockets; those of the sandboxes and of our own client may talk to this machine."""
    for item in items:
        if ON_SOCKETS.intersection(item.path.parents):
            item.add_marker(pytest.mark.allow_hosts(["127.0.0.1", "localhost"]))
        elif UNIT in item.path.parents:
            # pytest hands over the items of every directory, not only of this one.
            item.add_marker(pytest.mark.disable_socket)
