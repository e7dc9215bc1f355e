"""What an administrator writes down for an ActiveCampaign connection and export."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from relay.destinations.contract import Account
from relay.destinations.fields import FieldsModel, Host, Key, Number, Text
from relay.domain.exports import Export


class ActiveCampaignConnection(FieldsModel):
    """The fields of a connection's secret, from Settings > Developer of the ActiveCampaign account.

    https://developers.activecampaign.com/reference/url: the host is taken as given, never built from the account name.
    """

    api_host: Host = Field(
        title="URL",
        description="The host name, from Settings > Developer; `https://` and a path are tolerated.",
        examples=["youraccount.api-us1.com"],
    )
    api_key: Key = Field(
        title="Key", description="The key of a user who sees the lists and fields.", examples=["0a1b2c3d4e"]
    )


LONGEST_TAG = 255
"""Characters; the limit is not documented, longer names than a short text's are no names."""

_NEEDED = {
    "keep": frozenset[str](),
    "unsubscribe": frozenset[str](),
    "set_field": frozenset({"exit_field", "value_in", "value_out"}),
    "remove_tag": frozenset({"tag"}),
}


def _without_bars(tag: str) -> str:
    if "|" in tag:
        raise ValueError("must hold no |, which stands between tags")
    return tag


class ActiveCampaignOptions(FieldsModel):
    """The options of an export."""

    list_id: Number = Field(title="List", description="The list's number.", examples=["12"])
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
    exit_field: Number | None = Field(
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
    tag: Annotated[Text, Field(max_length=LONGEST_TAG), AfterValidator(_without_bars)] | None = Field(
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


AcAccount = Account[ActiveCampaignConnection]
AcExport = Export[ActiveCampaignOptions]
