"""What sources, connections and exports look like: as administrators write them, and as they are told to the others."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from relay.domain.exports import Export
from relay.domain.expressions import compiled
from relay.domain.problems import SettingsProblem
from relay.sources.adobe_http import DEFAULT_NAMESPACE
from relay.sources.authentication import MODES
from relay.sources.dialects import DIALECTS

CONSENT = "I agree"
COMMON_FIELDS = ("destination", "display_name", "privacy_consent", "description")
"""The fields of a connection's secret that every destination has; the others are the destination's own."""
MAX_SEGMENTS = 50

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SEGMENT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}/[^\x00-\x1f\x7f]{1,256}")


class UnknownSource(SettingsProblem):
    """There is no source of this name."""


class UnknownConnection(SettingsProblem):
    """There is no connection of this name (any more)."""


class UnknownExport(SettingsProblem):
    """There is no export of this name (any more)."""


def is_name(text: str) -> bool:
    """Return whether a source, connection or export can be called so."""
    return _NAME.fullmatch(text) is not None


def require_name(name: str, field: str) -> None:
    """Refuse, with SettingsProblem, what no source, connection or export can be called."""
    if not is_name(name):
        raise SettingsProblem(
            "invalid_name", "must be 1 to 63 lower-case letters, digits or hyphens, not a hyphen first", field=field
        )


def split_key(key: str) -> tuple[str, str]:
    """Return connection and export of a key `connection/export`."""
    connection, _, name = key.partition("/")
    require_name(connection, "connection")
    require_name(name, "export")
    return connection, name


def _chosen_from(known: Iterable[str]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in known:
            raise PydanticCustomError("choice", "must be one of {known}", {"known": ", ".join(known)})
        return value

    return AfterValidator(check)


def _expression(value: str) -> str:
    try:
        compiled(value)
    except ValueError as error:
        raise PydanticCustomError("expression", "{reason}", {"reason": str(error)}) from None
    return value


def _comma_list(value: Any) -> Any:
    return frozenset(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value


def _segments(values: list[str]) -> list[str]:
    for index, value in enumerate(values):
        if _SEGMENT.fullmatch(value) is None:
            raise PydanticCustomError("segment", "entry {n} must be source/segment", {"n": index + 1})
        if value in values[:index]:
            raise PydanticCustomError("segment", "entry {n} is there twice", {"n": index + 1})
    return values


ExpressionText = Annotated[str, AfterValidator(_expression)]


class SourceSettings(BaseModel):
    """A platform that posts webhooks; the fields are those of its secret, `name` comes from the secret's name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    dialect: Annotated[str, _chosen_from(DIALECTS)]
    auth: Annotated[str, _chosen_from(MODES)]
    secret: SecretStr
    previous_secret: SecretStr | None = None
    """Also taken while the sender is moved to a new secret."""
    profile_key: ExpressionText
    segment_namespaces: Annotated[frozenset[str], BeforeValidator(_comma_list)] = frozenset({DEFAULT_NAMESPACE})
    """Comma list; memberships of other namespaces are ignored (Adobe's dialect)."""
    description: str = ""

    @field_validator("secret", "previous_secret")
    @classmethod
    def _usable(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        mode = MODES.get(info.data.get("auth", ""))
        reason = None if value is None or mode is None else mode.secret_problem(value.get_secret_value())
        if reason is not None:
            raise PydanticCustomError("secret", "{reason}", {"reason": reason})
        return value

    @property
    def secrets(self) -> list[str]:
        """The current secret and, where there is one, the previous."""
        kept = [self.secret] if self.previous_secret is None else [self.secret, self.previous_secret]
        return [secret.get_secret_value() for secret in kept]


class ExportText(BaseModel):
    """An export's parameter, as far as it does not depend on the destination."""

    model_config = ConfigDict(strict=True, extra="forbid")

    state: Literal["active", "paused"]
    stream: bool | None = None
    segments: Annotated[list[str], Field(min_length=1, max_length=MAX_SEGMENTS), AfterValidator(_segments)]
    mapping: dict[str, ExpressionText]
    options: dict[str, Any] = Field(default_factory=dict)
    description: str = ""


@dataclass(frozen=True, slots=True)
class Outline:
    """What can be known of an export from its parameter alone; `stream` None means the destination's default."""

    connection: str
    name: str
    active: bool
    stream: bool | None
    segments: tuple[str, ...]
    version: int

    @property
    def key(self) -> str:
        """`connection/export`: unique in the stack."""
        return f"{self.connection}/{self.name}"


@dataclass(frozen=True, slots=True)
class Invalid:
    """What cannot be used, and why; `subject` is `export {connection}/{export}` or `connection {connection}`."""

    subject: str
    problem: SettingsProblem


@dataclass(frozen=True, slots=True)
class Listing:
    """All exports: those that can be used by their key, and what is wrong with the others."""

    valid: Mapping[str, Export]
    problems: Sequence[Invalid]
