"""The version of Audience Relay (https://semver.org). It stands here; a test holds every other place to it."""

from typing import Final

VERSION: Final = "0.1.0"

USER_AGENT: Final = f"audience-relay/{VERSION}"
"""How the relay names itself to those that it calls."""
