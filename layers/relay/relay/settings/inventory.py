"""The names of all sources and connections there are, and of secrets and parameters that nearly are settings.

Only names are read here: a secret called `audience-relay/source/shop` is read by nobody, and its administrator wonders.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from relay.domain.problems import Busy
from relay.settings.names import is_name

Listing = Callable[..., Mapping[str, Any]]
"""An operation of boto3 that lists names page by page.
https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ListSecrets.html
https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DescribeParameters.html"""

_KINDS = ("sources", "connections")


@dataclass(frozen=True, slots=True)
class Inventory:
    """Names of sources and connections; `nearly` says, one sentence each, what looks like a setting and is none."""

    sources: Sequence[str] = ()
    connections: Sequence[str] = ()
    nearly: Sequence[str] = ()


@dataclass(slots=True)
class Inventories:
    """Lists names; raises Busy when AWS does not answer."""

    prefix: str
    list_secrets: Listing
    describe_parameters: Listing
    _variants: list[str] = field(init=False)

    def __post_init__(self) -> None:
        """Think of the ways in which a prefix is misspelt: letter case, and what joins its words."""
        words = [self.prefix, self.prefix.replace("-", "_"), self.prefix.replace("-", "")]
        spelt = [change(word) for word in words for change in (str, str.upper, str.title)]
        self._variants = list(dict.fromkeys(spelt))

    def __call__(self) -> Inventory:
        """Return what there is now."""
        # The filter takes the beginnings of names, ten at most.
        begins = {"Key": "name", "Values": [*self._variants, f"/{self.prefix}"][:10]}
        contains = {"Key": "Name", "Option": "Contains", "Values": self._variants}
        try:
            secrets = _names(self.list_secrets, "SecretList", MaxResults=100, Filters=[begins])
            parameters = _names(self.describe_parameters, "Parameters", MaxResults=50, ParameterFilters=[contains])
        except ClientError as error:
            raise Busy("names_unavailable", str(error.response.get("Error", {}).get("Code", "unknown"))) from None
        except BotoCoreError as error:
            raise Busy("names_unavailable", type(error).__name__) from None
        found: dict[str, list[str]] = {kind: [] for kind in _KINDS}
        for kind, name in filter(None, map(self._place, secrets)):
            found[kind].append(name)
        nearly = [*map(self._told_secret, filter(self._is_stray_secret, secrets))]
        nearly += map(self._told_parameter, filter(self._is_stray_parameter, parameters))
        return Inventory(sorted(found["sources"]), sorted(found["connections"]), sorted(nearly))

    def _place(self, secret: str) -> tuple[str, str] | None:
        """Return kind and name of a source or a connection."""
        parts = secret.split("/")
        if len(parts) == 3 and parts[0] == self.prefix and parts[1] in _KINDS and is_name(parts[2]):
            return parts[1], parts[2]
        return None

    def _is_stray_secret(self, name: str) -> bool:
        return self._is_ours(name) and self._place(name) is None and not name.startswith(f"{self.prefix}/stack/")

    def _is_stray_parameter(self, name: str) -> bool:
        """What lies where exports are read and is none is shown with the exports."""
        return self._is_ours(name) and not name.startswith(f"/{self.prefix}/exports/")

    def _is_ours(self, name: str) -> bool:
        """Whether a name begins with the prefix, misspelt or not; another stack's prefix may begin with ours."""
        first = next((part for part in name.split("/") if part.strip()), "")
        return _letters(first) == _letters(self.prefix)

    def _told_secret(self, name: str) -> str:
        return (
            f'the secret "{name}" is read by nobody: a source is called {self.prefix}/sources/NAME, a connection '
            f"{self.prefix}/connections/NAME, with NAME in lower-case letters, digits and hyphens"
        )

    def _told_parameter(self, name: str) -> str:
        return f'the parameter "{name}" is read by nobody: an export is called /{self.prefix}/exports/CONNECTION/EXPORT'


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _names(ask: Listing, held: str, **request: Any) -> list[str]:
    """Return the names on all pages of a listing."""
    names: list[str] = []
    while True:
        page = ask(**request)
        names += (str(one["Name"]) for one in page[held])
        if not page.get("NextToken"):
            return names
        request["NextToken"] = page["NextToken"]
