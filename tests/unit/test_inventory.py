"""Names of sources and connections, and names that are nearly those of settings."""

from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from relay.domain.problems import Busy
from relay.settings.inventory import Inventories, Inventory
from tests.examples import example


class Names:
    """Secrets Manager and SSM, listing names in pages of two, with the filters that AWS documents."""

    def __init__(self, secrets: tuple[str, ...] = (), parameters: tuple[str, ...] = ()) -> None:
        self.secrets, self.parameters = secrets, parameters
        self.failure: Exception | None = None

    def list_secrets(self, *, MaxResults: int, Filters: Any, NextToken: str = "0") -> Mapping[str, Any]:  # noqa: N803
        (only,) = Filters
        assert only["Key"] == "name"
        assert 1 <= len(only["Values"]) <= 10
        return self._page(
            "SecretList", [one for one in self.secrets if one.startswith(tuple(only["Values"]))], NextToken
        )

    def describe_parameters(
        self,
        *,
        MaxResults: int,  # noqa: N803
        ParameterFilters: Any,  # noqa: N803
        NextToken: str = "0",  # noqa: N803
    ) -> Mapping[str, Any]:
        (only,) = ParameterFilters
        assert (only["Key"], only["Option"]) == ("Name", "Contains")
        assert MaxResults <= 50
        found = [one for one in self.parameters if any(value in one for value in only["Values"])]
        return self._page("Parameters", found, NextToken)

    def _page(self, held: str, names: list[str], token: str) -> Mapping[str, Any]:
        if self.failure is not None:
            raise self.failure
        start = int(token)
        more = {"NextToken": str(start + 2)} if start + 2 < len(names) else {}
        return {held: [{"Name": name} for name in names[start : start + 2]], **more}


def read(*secrets: str, parameters: tuple[str, ...] = ()) -> Inventory:
    names = Names(secrets, parameters)
    return Inventories("audience-relay", names.list_secrets, names.describe_parameters)()


def test_sources_and_connections_are_found_on_every_page() -> None:
    found = read(
        "audience-relay/sources/shop",
        "audience-relay/stack/identity-key",
        "audience-relay/connections/letters",
        "audience-relay/sources/app",
        "somebody/sources/else",
    )
    assert found == Inventory(["app", "shop"], ["letters"], [])


def test_a_secret_that_nearly_is_a_setting_is_told() -> None:
    table: list[str] = [
        "audience-relay/source/shop",
        "audience-relay/Sources/shop",
        "audience-relay/connection/letters",
        "audience-relay/sources/Shop",
        "audience-relay/sources/shop ",
        "audience-relay/sources/shop/",
        "audience-relay/sources",
        "audience-relay/shop",
        "audience-relay/connections/letters/main",
        "/audience-relay/sources/shop",
        "Audience-Relay/sources/shop",
        "AUDIENCE-RELAY/sources/shop",
        "audience_relay/sources/shop",
        "audiencerelay/sources/shop",
    ]
    for name in table:
        with example(name):
            [given] = read("audience-relay/sources/app", name).nearly
            assert f'"{name}"' in given
            assert "audience-relay/sources/NAME" in given


@pytest.mark.parametrize(
    "name",
    [
        "/audience-relay/export/letters/main",
        "/audience-relay/Exports/letters/main",
        "/Audience-Relay/exports/letters/main",
        "/audience_relay/exports/letters/main",
        "/audience-relay/letters/main",
        "audience-relay",
    ],
)
def test_a_parameter_that_nearly_is_an_export_is_told(name: str) -> None:
    [given] = read(parameters=("/audience-relay/exports/letters/main", name)).nearly
    assert f'"{name}"' in given
    assert "/audience-relay/exports/CONNECTION/EXPORT" in given


def test_what_belongs_to_others_is_not_told() -> None:
    found = read(
        "audience-relay-test/sources/shop",
        "audience-relayed/x",
        parameters=("/audience-relay-test/exports/letters/main", "/apps/audience-relay", "/audience-relay/exports/a/b"),
    )
    assert found == Inventory([], [], [])


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (ClientError({"Error": {"Code": "AccessDeniedException"}}, "ListSecrets"), "AccessDenied"),
        (EndpointConnectionError(endpoint_url="x"), "EndpointConnectionError"),
    ],
    ids=["refused", "silent"],
)
def test_names_that_aws_does_not_tell_are_passing_trouble(failure: Exception, reason: str) -> None:
    names = Names()
    names.failure = failure
    with pytest.raises(Busy, match=reason):
        Inventories("audience-relay", names.list_secrets, names.describe_parameters)()
