"""What sources, connections and exports may be called, and what is raised when there is none of a name."""

import re

from relay.domain.problems import SettingsProblem

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")

NAME_RULE = "must be 1 to 63 lower-case letters, digits or hyphens, not a hyphen first"
"""What is said of a name that nothing can be called."""


class UnknownSource(SettingsProblem):
    """There is no source of this name."""


class UnknownConnection(SettingsProblem):
    """There is no connection of this name (any more)."""


class UnknownExport(SettingsProblem):
    """There is no export of this name (any more)."""


def is_name(text: str) -> bool:
    """Return whether a source, connection or export can be called so."""
    return _NAME.fullmatch(text) is not None


def require_name(name: str, field: str) -> None:
    """Refuse, with SettingsProblem, what no source, connection or export can be called."""
    if not is_name(name):
        raise SettingsProblem("invalid_name", NAME_RULE, field=field)


def split_key(key: str) -> tuple[str, str]:
    """Return connection and export of a key `connection/export`."""
    if "/" not in key and "." in key:
        raise SettingsProblem("invalid_name", "has a dot where a slash belongs: connection/export", field="export")
    connection, _, name = key.partition("/")
    require_name(connection, "connection")
    require_name(name, "export")
    return connection, name
