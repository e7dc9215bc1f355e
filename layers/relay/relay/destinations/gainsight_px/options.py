"""What an administrator writes down for a Gainsight PX export."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, model_validator

from relay.domain.values import whole


def _stripped(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_stripped), Field(min_length=1)]


class GainsightPxOptions(BaseModel):
    """The options of an export. The defaults suit what is documented; what is not documented can be set here.

    `mode`: `segments` sends external segments; `attributes` is for subscriptions without them and sets one Boolean
    attribute of PX's users per segment.
    `multiple_identities`: what to do with a namespace that holds several ids.
    `tell_again`: a number to raise when everybody is to be sent again, for example after a segment was deleted in PX.

    Of external segments: `segment_ref`, whether PX is sent its own segment id or our external id (`source/segment`) as
    `segmentId`; `max_identities_per_call`; `identity_type`, where `GLOBAL_ID` is for subscriptions with workspaces;
    `segment_names` and `segment_descriptions` by segment, for PX's Segments screen, instead of the platform's name.

    Of attributes: `attributes`, the apiName by segment; `create_users`, whether one PX does not know becomes a user of
    PX instead of a rejection; `product_keys` (`AP-...-2`) of the products whose users are meant, needed where the
    subscription has several.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    mode: Literal["segments", "attributes"] = "segments"
    multiple_identities: Literal["first", "all", "reject"] = "first"
    tell_again: Annotated[int, BeforeValidator(whole), Field(strict=True, ge=0)] = 0
    segment_ref: Literal["id", "external_id"] = "id"
    max_identities_per_call: Annotated[int, BeforeValidator(whole), Field(strict=True, ge=1, le=10_000)] = 1000
    identity_type: Literal["IDENTIFY_ID", "GLOBAL_ID"] = "IDENTIFY_ID"
    segment_names: dict[str, Text] = {}
    segment_descriptions: dict[str, Text] = {}
    attributes: dict[str, Text] = {}
    create_users: StrictBool = False
    product_keys: tuple[Text, ...] = ()

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
