"""The destinations there are: each package beside this file is one."""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

from relay.destinations.contract import Destination
from relay.domain.problems import Fault, SettingsProblem

PACKAGES: Mapping[str, str] = {
    folder.parent.name: f"{__package__}.{folder.parent.name}"
    for folder in sorted(Path(__file__).parent.glob("*/__init__.py"))
}
"""The values of a connection's `destination`; each package exposes `DESTINATION`. Imported only when used, so that a
function pays for the destinations it serves and no other."""


def load(name: str) -> Destination:
    """Return a destination by name; SettingsProblem when there is none of this name."""
    package = PACKAGES.get(name)
    if package is None:
        what = f"must be one of {', '.join(PACKAGES)}"
        near = next(iter(get_close_matches(name[:64].lower().replace("-", "_"), PACKAGES, n=1)), None)
        faults = [Fault("destination", what, near)]
        raise SettingsProblem("unknown_destination", what, field="destination", faults=faults)
    destination: Destination = import_module(package).DESTINATION
    return destination
