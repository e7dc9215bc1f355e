"""A destination whose author forgot that an error may show what is wrong."""

from __future__ import annotations

from pydantic import ConfigDict, field_validator

from relay.destinations.contract import Destination
from relay.domain.problems import SettingsProblem
from scaffold.model.package import ConnectionFields, NewsletterTool


class CarelessFields(ConnectionFields):
    """Fields that repeat a bad value."""

    model_config = ConfigDict(extra="forbid")

    api_key: str  # type: ignore[assignment]

    @field_validator("api_key")
    @classmethod
    def _careless(cls, value: str) -> str:
        if len(value) < 8:
            raise ValueError(f"{value} is too short")
        return value


class CarelessTool(NewsletterTool):
    """The model of destinations with careless fields."""

    connection_model: type[ConnectionFields] = CarelessFields


def load(name: str) -> Destination:
    if name != CarelessTool.name:
        raise SettingsProblem("unknown_destination", f"must be {CarelessTool.name}", field="destination")
    return CarelessTool()
