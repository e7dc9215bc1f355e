"""What an administrator writes down for an ActiveCampaign connection and export."""

import re
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from relay.domain.values import id_of

_HOST = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}", re.ASCII)


def _host_name(value: object) -> object:
    """Take the host out of what people paste: with or without scheme, path and trailing slash."""
    if not isinstance(value, str):
        return value
    scheme, separator, rest = value.strip().partition("://")
    if separator and scheme.lower() != "https":
        raise ValueError("only https is spoken to ActiveCampaign")
    host = (rest if separator else scheme).split("/", 1)[0].lower()
    if not _HOST.fullmatch(host):
        raise ValueError("must be the host name under Settings > Developer, such as youraccount.api-us1.com")
    return host


def _stripped(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


def _digits(value: object) -> object:
    return _stripped(value) if isinstance(value, str) else (id_of(value) or value)


Id = Annotated[str, BeforeValidator(_digits), Field(pattern=r"^[1-9][0-9]{0,17}$")]
"""A number ActiveCampaign gave, as a string of digits; a JSON number is accepted."""


class ActiveCampaignConnection(BaseModel):
    """The fields of a connection's secret, from Settings > Developer of the ActiveCampaign account.

    https://developers.activecampaign.com/reference/url: the host is taken as given, never built from the account name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    api_host: Annotated[str, BeforeValidator(_host_name)] = Field(
        title="URL",
        description="The host name, from Settings > Developer; `https://` and a path are tolerated.",
        examples=["youraccount.api-us1.com"],
    )
    api_key: Annotated[SecretStr, BeforeValidator(_stripped)] = Field(
        title="Key", description="The key of a user who sees the lists and fields.", examples=["0a1b2c3d4e"]
    )

    @model_validator(mode="after")
    def _key_fits_a_header(self) -> Self:
        key = self.api_key.get_secret_value()
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise ValueError("api_key must be the key as shown under Settings > Developer")
        return self


LONGEST_TAG = 255
"""Characters; the limit is not documented, longer names than a short text's are no names."""

_NEEDED = {
    "keep": frozenset[str](),
    "unsubscribe": frozenset[str](),
    "set_field": frozenset({"exit_field", "value_in", "value_out"}),
    "remove_tag": frozenset({"tag"}),
}

Text = Annotated[str, BeforeValidator(_stripped), Field(min_length=1)]


class ActiveCampaignOptions(BaseModel):
    """The options of an export."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    list_id: Id = Field(title="List", description="The list's number.", examples=["12"])
    on_exit: Literal["keep", "unsubscribe", "set_field", "remove_tag"] = Field(
        "keep",
        title="Leaving",
        description="What happens to a contact who leaves the segments.",
        examples=["unsubscribe"],
    )
    resubscribe: bool = Field(
        True,
        title="Coming back",
        description="With `unsubscribe`: whether those whom this export unsubscribed may be subscribed again when they "
        "return, as long as nobody else touched their subscription. With `false` leavers go in bulk.",
        examples=[False],
    )
    exclude_automations: bool = Field(
        False,
        title="No automations",
        description="Whether bulk imports start no automations. With `true` all that can go in bulk does.",
        examples=[True],
    )
    exit_field: Id | None = Field(
        None, title="Field", description="With `set_field`: the number of the custom field.", examples=["31"]
    )
    value_in: Text | None = Field(
        None,
        title="Value inside",
        description="With `set_field`: what the field holds while the contact is in the segments.",
        examples=["yes"],
    )
    value_out: Text | None = Field(
        None, title="Value outside", description="With `set_field`: what it holds afterwards.", examples=["no"]
    )
    tag: Annotated[Text, Field(max_length=LONGEST_TAG, pattern=r"^[^|]*$")] | None = Field(
        None, title="Tag", description="With `remove_tag`: what contacts in the segments carry.", examples=["vip"]
    )

    @model_validator(mode="after")
    def _fits_the_way_of_leaving(self) -> Self:
        given = {name for name in frozenset().union(*_NEEDED.values()) if getattr(self, name) is not None}
        needed = _NEEDED[self.on_exit]
        if needed - given:
            raise ValueError(f"on_exit {self.on_exit} also needs {', '.join(sorted(needed - given))}")
        if given - needed:
            raise ValueError(f"{', '.join(sorted(given - needed))}: not used with on_exit {self.on_exit}")
        if self.on_exit == "set_field" and self.value_in == self.value_out:
            raise ValueError("value_in and value_out must differ")
        if "resubscribe" in self.model_fields_set and self.on_exit != "unsubscribe":
            raise ValueError("resubscribe: only used with on_exit unsubscribe")
        return self
