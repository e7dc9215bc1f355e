"""What an administrator writes down for a Gainsight PX connection."""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

from relay.destinations.contract import Account

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def _stripped(value: object) -> object:
    """Trim; a field left blank in the console counts as not given."""
    return (value.strip() or None) if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


Text = Annotated[str | None, BeforeValidator(_stripped)]
Key = Annotated[SecretStr | None, BeforeValidator(_stripped)]

_GRANT_FIELDS = ("username", "password", "client_id", "client_secret", "token_url")


class GainsightPxConnection(BaseModel):
    """The fields of a connection's secret: a REST API key, or what Adobe's form asks for and the token's address.

    `client_id` is the subscription ID of the Company Details page, `client_secret` the OAuth secret generated there:
    https://experienceleague.adobe.com/docs/experience-platform/destinations/catalog/analytics/gainsight-px.html
    `token_url` is published nowhere, so it has no default.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    region: Annotated[Literal["us", "eu", "us2"], BeforeValidator(_lower)] = Field(
        title="Region",
        description="What follows `app-` in the address of your PX, `us` when nothing does. Never guessed.",
        examples=["eu"],
    )
    username: Text = Field(None, title="Username", description="Of the PX log-in.", examples=["relay@example.com"])
    # A password may begin or end with a blank.
    password: Annotated[SecretStr | None, BeforeValidator(_none_if_empty)] = Field(
        None, title="Password", description="Of the PX log-in.", examples=["correct horse"]
    )
    client_id: Text = Field(None, title="Client ID", description="The subscription ID.", examples=["AP-ABC-2"])
    client_secret: Key = Field(None, title="Client secret", description="The OAuth secret.", examples=["0a1b2c3d"])
    token_url: Text = Field(
        None,
        title="Token address",
        description="The address that gives tokens.",
        examples=["https://login.example.com/oauth/token"],
    )
    api_key: Key = Field(None, title="API key", description="Instead of the last five.", examples=["0a1b2c3d-4e5f"])

    @field_validator("api_key")
    @classmethod
    def _fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        key = "" if value is None else value.get_secret_value()
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ValueError("must be the key as shown under Administration > REST API")
        return value

    @field_validator("token_url")
    @classmethod
    def _is_safe(cls, value: str | None) -> str | None:
        if value is None:
            return None
        address = urlsplit(value)
        # Plain http only reaches a sandbox on this machine, and only where a sandbox is set up: see token.py.
        is_safe = address.scheme == "https" or (address.scheme == "http" and address.hostname in _LOOPBACK)
        if not is_safe or not address.hostname or address.username is not None or address.query or address.fragment:
            raise ValueError("must be an https address without credentials, query or fragment")
        return value

    @model_validator(mode="after")
    def _exactly_one_way_to_log_in(self) -> Self:
        missing = [name for name in _GRANT_FIELDS if getattr(self, name) is None]
        if self.api_key is not None:
            if len(missing) < len(_GRANT_FIELDS):
                raise ValueError(f"give either api_key or {', '.join(_GRANT_FIELDS)}, not both")
        elif missing:
            raise ValueError(f"give either api_key or all of {', '.join(_GRANT_FIELDS)}; missing: {', '.join(missing)}")
        return self


PxAccount = Account[GainsightPxConnection]
"""An account of Gainsight PX."""
