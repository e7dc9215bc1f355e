"""The least of a destination that settings need: its models, its mapping rule and its default of `stream`."""

from collections.abc import Iterable, Mapping
from typing import cast

from pydantic import BaseModel, ConfigDict, field_validator

from relay.destinations.contract import Destination
from relay.domain.problems import SettingsProblem


class ConnectionFields(BaseModel):
    model_config = ConfigDict(extra="forbid")

    api_key: str
    region: str = "eu"

    @field_validator("api_key")
    @classmethod
    def _careless(cls, value: str) -> str:
        if len(value) < 8:
            raise ValueError(f"{value} is too short")
        return value


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")

    list_id: int


class NewsletterTool:
    name = "newsletter"
    streams = False
    connection_model = ConnectionFields
    options_model = Options

    def mapping_problems(self, mapping: Mapping[str, str]) -> Iterable[tuple[str, str]]:
        if "email" not in mapping:
            yield "email", "is required"


def load(name: str) -> Destination:
    if name != "newsletter":
        raise SettingsProblem("unknown_destination", "must be newsletter", field="destination")
    return cast("Destination", NewsletterTool())
