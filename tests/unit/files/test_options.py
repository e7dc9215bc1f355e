"""The options of a source that concern its segment files."""

import pytest

from relay.domain.problems import SettingsProblem
from relay.settings.sources import source_of

TEXTS = {
    "dialect": "relay-json",
    "auth": "bearer",
    "secret": "a-long-random-token-0123456789",
    "profile_key": "identities.crm",
}


def test_a_source_says_which_columns_are_identities_and_which_is_the_status() -> None:
    source = source_of("dwh", {**TEXTS, "file_identities": "crm=CUSTOMER_ID, email", "file_status": " STATE "})
    assert source.file_identities == {"CUSTOMER_ID": "crm", "email": "email"}
    assert source.file_status == "STATE"


def test_without_options_profile_key_says_it() -> None:
    source = source_of("dwh", TEXTS)
    assert source.file_identities is None
    assert source.file_status is None


def test_columns_that_cannot_be_read_are_named_by_their_field() -> None:
    with pytest.raises(SettingsProblem, match="file_identities"):
        source_of("dwh", {**TEXTS, "file_identities": "crm,,email"})
