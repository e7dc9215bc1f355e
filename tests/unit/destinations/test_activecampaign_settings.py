"""What an administrator may write down for a connection and an export."""

from typing import Any

import pytest
from pydantic import ValidationError

from relay.destinations.activecampaign.settings import ActiveCampaignConnection, ActiveCampaignOptions


@pytest.mark.parametrize(
    "host",
    ["acme.api-us1.com", "https://acme.api-us1.com", "https://ACME.api-us1.com/api/3/", " acme.api-us1.com/ "],
)
def test_host_as_people_paste_it(host: str) -> None:
    settings = ActiveCampaignConnection.model_validate({"api_host": host, "api_key": " s3cret\n"})
    assert settings.api_host == "acme.api-us1.com"
    assert settings.api_key.get_secret_value() == "s3cret"


@pytest.mark.parametrize(
    "host",
    [
        "http://acme.api-us1.com",
        "localhost",
        "127.0.0.1",
        "[::1]",
        "acme",
        "a@b.com",
        "acme.com:80",
        "",
        "a b.com",
    ],
)
def test_anything_else_is_no_host(host: str) -> None:
    with pytest.raises(ValidationError):
        ActiveCampaignConnection.model_validate({"api_host": host, "api_key": "s3cret"})


@pytest.mark.parametrize("key", ["", " ", "s3cret key", "s3\ncret", "s3crét"])
def test_a_key_that_cannot_be_one(key: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ActiveCampaignConnection.model_validate({"api_host": "acme.api-us1.com", "api_key": key})
    assert "s3" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"list_id": "seven"},
        {"list_id": "0"},
        {"list_id": True},
        {"list_id": 7.5},
        {"list_id": "7", "on_exit": "delete"},
        {"list_id": "7", "tags": ["x"]},
        {"list_id": "7", "on_exit": "set_field"},
        {"list_id": "7", "on_exit": "set_field", "exit_field": "1", "value_in": "x", "value_out": "x"},
        {"list_id": "7", "on_exit": "set_field", "exit_field": "1", "value_in": "x", "value_out": " "},
        {"list_id": "7", "on_exit": "set_field", "exit_field": "one", "value_in": "x", "value_out": "y"},
        {"list_id": "7", "exit_field": "1"},
        {"list_id": "7", "on_exit": "remove_tag"},
        {"list_id": "7", "on_exit": "remove_tag", "tag": " "},
        {"list_id": "7", "on_exit": "remove_tag", "tag": "a|b"},
        {"list_id": "7", "on_exit": "remove_tag", "tag": "x" * 256},
        {"list_id": "7", "on_exit": "unsubscribe", "tag": "Member"},
        {"list_id": "7", "resubscribe": False},
        {"list_id": "7", "on_exit": "remove_tag", "tag": "Member", "resubscribe": True},
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ActiveCampaignOptions.model_validate(options)


@pytest.mark.parametrize("number", [7, 7.0, "7", " 7 "])
def test_a_list_id_written_as_a_number(number: Any) -> None:
    assert ActiveCampaignOptions.model_validate({"list_id": number}).list_id == "7"


@pytest.mark.parametrize("on_exit", ["keep", "unsubscribe"])
def test_ways_of_leaving_that_need_nothing_else(on_exit: str) -> None:
    options = ActiveCampaignOptions.model_validate({"list_id": "7", "on_exit": on_exit})
    assert options.resubscribe


def test_who_returns_stays_out_only_where_it_is_said() -> None:
    options = ActiveCampaignOptions.model_validate({"list_id": "7", "on_exit": "unsubscribe", "resubscribe": False})
    assert not options.resubscribe


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(ValidationError, match="exit_field, value_out"):
        ActiveCampaignOptions.model_validate({"list_id": "7", "on_exit": "set_field", "value_in": "x"})
