"""Fields of connections and options as most vendors have them, for the models of a destination."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from relay.domain.values import id_of

_NUMBER = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
_HOST = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}", re.ASCII)


class FieldsModel(BaseModel):
    """A model of what an administrator writes: unknown names are mistakes, and errors never show a value."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def stripped(value: object) -> object:
    """Return a text without blanks at its ends, anything else as it is."""
    return value.strip() if isinstance(value, str) else value


def _digits(value: object) -> object:
    return stripped(value) if isinstance(value, str) else (id_of(value) or value)


def _numeric(value: str) -> str:
    if _NUMBER.fullmatch(value) is None:
        raise ValueError("must be a number as the vendor shows it, such as 7")
    return value


def _host_name(value: object) -> object:
    if not isinstance(value, str):
        return value
    scheme, separator, rest = value.strip().partition("://")
    if separator and scheme.lower() != "https":
        raise ValueError("only https is spoken")
    host = (rest if separator else scheme).split("/", 1)[0].lower()
    if not _HOST.fullmatch(host):
        raise ValueError("must be a host name, such as youraccount.example.com")
    return host


def _fits_a_header(value: SecretStr) -> SecretStr:
    key = value.get_secret_value()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("must be the key as the vendor shows it")
    return value


Text = Annotated[str, BeforeValidator(stripped), Field(min_length=1)]
"""A text that is not blank."""

Number = Annotated[str, BeforeValidator(_digits), AfterValidator(_numeric)]
"""A number that the vendor gave, as a string of digits; a JSON number is accepted."""

Host = Annotated[str, BeforeValidator(_host_name)]
"""A host name, taken out of what people paste: with or without https, path and trailing slash."""

Key = Annotated[SecretStr, BeforeValidator(stripped), AfterValidator(_fits_a_header)]
"""A secret that goes into a header."""
