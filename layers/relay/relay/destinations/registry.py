"""The destinations there are; a new one is a package and a line here."""

from collections.abc import Mapping
from importlib import import_module

from relay.destinations.contract import Destination
from relay.domain.problems import SettingsProblem

PACKAGES: Mapping[str, str] = {
    "activecampaign": "relay.destinations.activecampaign",
    "gainsight_px": "relay.destinations.gainsight_px",
}
"""The values of a connection's `destination`; each package exposes `DESTINATION`. Imported only when used, so that a
function pays for the destinations it serves and no other."""


def load(name: str) -> Destination:
    """Return a destination by name; SettingsProblem when there is none of this name."""
    package = PACKAGES.get(name)
    if package is None:
        raise SettingsProblem("unknown_destination", f"must be one of {', '.join(PACKAGES)}", field="destination")
    destination: Destination = import_module(package).DESTINATION
    return destination
