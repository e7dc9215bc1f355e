"""The fields of sources, connections and exports, for whoever asks what to write: the docs, and the admin functions.

What a destination adds is described by its own models.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from types import UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from relay.destinations.registry import PACKAGES
from relay.settings.shapes import CONSENT
from relay.sources.authentication import MODES
from relay.sources.dialects import DIALECTS
from relay.sources.signatures import ALGORITHMS, ENCODINGS


class Described(NamedTuple):
    """One field: what it means, and how it is written."""

    name: str
    means: str
    required: bool = False
    secret: bool = False
    default: Any = None
    choices: Sequence[str] | None = None
    example: Any = None
    type: str = "string"
    """As JSON schema calls it: `string`, `integer`, `number`, `boolean`, `array` or `object`."""


SOURCE: Final = (
    Described("dialect", "How the platform writes its messages.", True, choices=tuple(DIALECTS), example="relay-json"),
    Described("auth", "How a message proves where it comes from.", True, choices=tuple(MODES), example="bearer"),
    Described(
        "secret",
        "What messages are proven with; `user:password` for `basic`.",
        True,
        secret=True,
        example="a-long-random-token",
    ),
    Described("previous_secret", "The secret before, while the platform is moved to a new one.", secret=True),
    Described("auth_header", "The header that holds the secret (`header`).", example="X-Api-Key"),
    Described("signature_header", "The header that holds the signature (`hmac`).", example="X-Signature"),
    Described("signature_algorithm", "How it is made (`hmac`).", default="sha256", choices=ALGORITHMS),
    Described("signature_prefix", "What stands in front of it (`hmac`).", example="sha256="),
    Described("signature_encoding", "How it is written (`hmac`).", default="hex", choices=ENCODINGS),
    Described(
        "signed_text",
        "What is signed: text with `{body}` once and, if the sender has it, `{timestamp}` (`hmac`).",
        default="{body}",
        example="{timestamp}.{body}",
    ),
    Described(
        "timestamp_header",
        "The header that holds the `{timestamp}` in UNIX seconds, at most 5 minutes off (`hmac`).",
        example="X-Timestamp",
    ),
    Described(
        "profile_key",
        "What a person is known by: a JMESPath over identities and attributes.",
        True,
        example="identities.crm",
    ),
    Described(
        "segment_namespaces",
        "The namespaces whose memberships count, with commas between (Adobe's dialect).",
        default="ups",
    ),
    Described(
        "segments", "The only segments whose memberships are kept, with commas between. Without it all are kept."
    ),
    *(
        Described(name, f"Dialect `mapped`: an expression (JMESPath) of {what}.", example=example)
        for name, what, example in (
            ("each", "the list of what is about one person each", "records"),
            ("identities", "an object with the ids of each namespace", "{crm: id}"),
            ("attributes", "an object", "{email: email}"),
            ("segment", "the segment's id", "audience"),
            ("in", "true or false: whether the person is in the segment", "action == 'added'"),
            ("status", "`realized` or `exited`; instead of `in`", "status"),
            ("at", "the time of it all; without it the receipt", "changed_at"),
            ("id", "the message's id, the same when it comes again", "message_id"),
        )
    ),
    Described(
        "file_identities",
        "The columns of segment files that are identities: `namespace=column` or one name for both, commas between. "
        "Without it the namespaces that `profile_key` looks up.",
        example="crm=CUSTOMER_ID, email",
    ),
    Described("file_status", "The column of segment files that says who is a member, where it has a name of its own."),
    Described(
        "allow_empty",
        "Whether a segment file without members empties its segment. Otherwise such a file is refused.",
        choices=("true", "false"),
        default="false",
    ),
    Described("description", "For people."),
)
"""The keys of a source's secret; all are texts."""

CONNECTION: Final = (
    Described("destination", "The tool that the connection leads to.", True, choices=tuple(PACKAGES)),
    Described("display_name", "What the connection is for.", True, example="Newsletter account"),
    Described(
        "privacy_consent", f"`{CONSENT}`. Without it nothing is sent.", True, choices=(CONSENT,), example=CONSENT
    ),
    Described("description", "For people."),
)
"""The keys that the secret of every connection has; all are texts."""

EXPORT: Final = (
    Described("state", "Whether anything is sent.", True, choices=("active", "paused"), example="active"),
    Described(
        "segments",
        "Whose members are exported: 1 to 50 texts, each a source, a slash and a segment's id.",
        True,
        example=["crm/vip"],
        type="array",
    ),
    Described(
        "mapping",
        "What the destination gets: an expression (JMESPath) for each of its fields.",
        True,
        example={"email": "attributes.email"},
        type="object",
    ),
    Described(
        "stream",
        "Whether changes are sent at once, or by runs alone. Without it as the destination does.",
        type="boolean",
    ),
    Described(
        "only_if",
        "An expression (JMESPath). Whoever it is false for does not belong in.",
        example="attributes.country == 'DE'",
    ),
    Described(
        "options", "What else the destination wants to know.", default={}, example={"list_id": "7"}, type="object"
    ),
    Described("description", "For people."),
)
"""The keys of an export's parameter."""


def of_model(model: type[BaseModel]) -> Iterator[Described]:
    """Yield the fields of a destination's model."""
    for name, field in model.model_fields.items():
        yield Described(
            name,
            f"{field.title}. {field.description}",
            field.is_required(),
            _is_secret(field.annotation) or any(_is_secret(part) for part in field.metadata),
            _default(field),
            _choices(field),
            field.examples[0] if field.examples else None,
            _type(field.annotation),
        )


def _default(field: FieldInfo) -> Any:
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    return None if default in ((), {}) or isinstance(default, SecretStr) else default


def _choices(field: FieldInfo) -> Sequence[str] | None:
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    return tuple(map(str, choices)) or None


def _type(annotation: Any) -> str:
    """Return the type of a field's values in JSON; what may be left out has that of what may be given."""
    origin = get_origin(annotation) or annotation
    if isinstance(origin, type) and origin is not UnionType:
        return next((name for types, name in _TYPES if issubclass(origin, types)), "string")
    parts = [part for part in get_args(annotation) if part is not type(None)]
    return _type(parts[0]) if len(parts) == 1 or origin is Annotated else "string"


_TYPES: Final[Sequence[tuple[tuple[type, ...], str]]] = (
    # A truth value is a number, too.
    ((bool,), "boolean"),
    ((int,), "integer"),
    ((float,), "number"),
    ((str, bytes), "string"),
    ((Mapping, BaseModel), "object"),
    ((Sequence, Set), "array"),
)


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(map(_is_secret, get_args(annotation)))
