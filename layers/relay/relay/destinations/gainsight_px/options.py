"""What an administrator writes down for a Gainsight PX export."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, model_validator

from relay.domain.exports import Export
from relay.domain.values import whole


def _stripped(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_stripped), Field(min_length=1)]


class GainsightPxOptions(BaseModel):
    """The options of an export. The defaults suit what is documented; what is not documented can be set here."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    mode: Literal["segments", "attributes"] = Field(
        "segments",
        title="Mode",
        description="External segments; or one Boolean attribute of users per segment, for subscriptions without them.",
        examples=["attributes"],
    )
    multiple_identities: Literal["first", "all", "reject"] = Field(
        "first",
        title="Several ids",
        description="What to do with a namespace that holds several ids: the smallest counts, so that the order they "
        "come in does not matter, or all do, or the profile is rejected.",
        examples=["all"],
    )
    tell_again: Annotated[int, BeforeValidator(whole), Field(strict=True, ge=0)] = Field(
        0, title="Send again", description="Raise it to have everybody sent again.", examples=[1]
    )
    segment_names: dict[str, Text] = Field(
        {},
        title="Names",
        description="By segment: what PX's Segments screen shows instead of the platform's name.",
        examples=[{"aep/8a2f": "Loyal customers"}],
    )
    segment_descriptions: dict[str, Text] = Field(
        {},
        title="Descriptions",
        description="By segment, for PX's Segments screen.",
        examples=[{"aep/8a2f": "Bought twice in a year"}],
    )
    segment_ref: Literal["id", "external_id"] = Field(
        "id",
        title="Reference",
        description="Whether a membership names PX's id of the segment or ours; not documented.",
        examples=["external_id"],
    )
    max_identities_per_call: Annotated[int, BeforeValidator(whole), Field(strict=True, ge=1, le=10_000)] = Field(
        1000,
        title="Size of a call",
        description="1 to 10,000 identities over all segments; not documented. Too many for PX are sent in halves.",
        examples=[5000],
    )
    identity_type: Literal["IDENTIFY_ID", "GLOBAL_ID"] = Field(
        "IDENTIFY_ID",
        title="Type of id",
        description="`GLOBAL_ID` is for subscriptions with workspaces; the mapping must yield that id. Cannot be "
        "changed once members were sent: delete the export, and its segments in PX, and make one with another name.",
        examples=["GLOBAL_ID"],
    )
    attributes: dict[str, Text] = Field(
        {},
        title="Attributes",
        description="With mode `attributes`, by segment: the apiName (case counts) of a custom attribute of type "
        "Boolean. Every segment needs one of its own.",
        examples=[{"aep/8a2f": "isLoyal"}],
    )
    create_users: StrictBool = Field(
        False,
        title="Make users",
        description="With mode `attributes`: whether one whom PX does not know becomes a user. Otherwise the profile "
        "is rejected as `unknown_user`.",
        examples=[True],
    )
    product_keys: tuple[Text, ...] = Field(
        (),
        title="Product keys",
        description="With mode `attributes`: those of the products whose users are meant. Needed where the "
        "subscription has several. Users are written with exactly these.",
        examples=[["AP-ABC-2"]],
    )

    @model_validator(mode="after")
    def _fits_the_mode(self) -> Self:
        if self.mode == "segments":
            if self.attributes or self.create_users:
                raise ValueError("attributes and create_users are only used with mode attributes")
            return self
        if not self.attributes:
            raise ValueError("mode attributes also needs attributes: the apiName of a Boolean attribute by segment")
        if len(set(self.attributes.values())) < len(self.attributes):
            raise ValueError("attributes: two segments name the same attribute")
        if self.identity_type != "IDENTIFY_ID":
            raise ValueError("identity_type: attributes are written by IDENTIFY_ID only")
        return self


PxExport = Export[GainsightPxOptions]
"""An export to Gainsight PX."""
