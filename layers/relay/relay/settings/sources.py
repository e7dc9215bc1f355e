"""Sources as administrators wrote them: all of the settings that ingest needs, and nothing that is slow to import."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from relay.aws.clients import SecretsReader
from relay.clock import Clock, SystemClock
from relay.domain.expressions import compiled
from relay.domain.problems import Busy, Fault, SettingsProblem
from relay.files.columns import identity_columns
from relay.settings.doors import DEFAULT_SECONDS, SecretsDoor
from relay.settings.faults import MISSING, problem, trimmed, unknown_key
from relay.settings.names import UnknownSource, is_name
from relay.sources.authentication import MODES, OPTIONS, Mode
from relay.sources.dialect import DEFAULT_NAMESPACE
from relay.sources.dialects import DIALECTS
from relay.sources.mapping import FIELDS as MAPPED_FIELDS
from relay.sources.mapping import faults_of as faults_of_mapping
from relay.sources.segment_limit import segment_limit

UNKNOWN_LOOKUPS_AT_ONCE = 100
"""How many names that it has not found yet one process looks up at once: more than anybody has sources."""
UNKNOWN_LOOKUPS_PER_SECOND = 2.0
"""How many it looks up in the long run, so that requests for made-up names cost next to nothing.

A list of the names there are would cost less, but ListSecrets may lag behind by five minutes, and its right shows
every secret of the account. https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ListSecrets.html
"""


class TooManyUnknownSources(Busy):
    """So many unknown names were looked up just now that this one has to wait."""


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """A platform that posts webhooks; the fields are those of its secret, `name` comes from the secret's name."""

    name: str
    dialect: str
    auth: str
    secrets: tuple[str, ...] = field(repr=False)
    """The current secret and, while the sender is moved to a new one, the previous."""
    profile_key: str
    segment_namespaces: frozenset[str] = frozenset({DEFAULT_NAMESPACE})
    """Memberships of other namespaces are ignored (Adobe's dialect)."""
    segments: frozenset[str] | None = None
    """The only segments whose memberships are kept, as references (see `segment_limit`); None keeps all."""
    auth_options: Mapping[str, str] = field(default_factory=dict)
    """What else the way of authentication wants to know."""
    file_identities: Mapping[str, str] | None = None
    """Namespaces of identities by the columns of segment files; None takes those that `profile_key` looks up."""
    file_status: str | None = None
    """The column of segment files that says who is a member, where it has a name of its own."""
    allow_empty: bool = False
    """Whether a segment file without members empties its segment."""
    description: str = ""
    mapping: Mapping[str, str] = field(default_factory=dict)
    """The expressions of the dialect that is told where a body has what."""


class Sources:
    """Reads and validates sources, keeping each for `seconds`.

    All methods raise SettingsProblem (the administrator must act, the text says how) or Busy (AWS did not answer).
    """

    def __init__(
        self,
        prefix: str,
        *,
        secrets: SecretsReader | None = None,
        seconds: float = DEFAULT_SECONDS,
        clock: Clock | None = None,
    ) -> None:
        self._prefix = prefix.strip("/")
        clock = SystemClock() if clock is None else clock
        self._secrets = SecretsDoor(secrets, seconds, clock)
        self._unknown_lookups = _TokenBucket(UNKNOWN_LOOKUPS_AT_ONCE, UNKNOWN_LOOKUPS_PER_SECOND, clock)
        self._checked: dict[str, tuple[Mapping[str, str], SourceSettings]] = {}
        self._identity_key: str | None = None

    def source(self, name: str) -> SourceSettings:
        """Return a source.

        Raises UnknownSource when there is none, TooManyUnknownSources when it cannot be looked up for a moment.
        """
        unknown = UnknownSource("unknown_source", "there is no source of this name", field="source")
        if not is_name(name):
            raise unknown
        texts = self._secrets.fields(f"{self._prefix}/sources/{name}", unknown, admit=self._unknown_lookups.use)
        checked = self._checked.get(name)
        if checked is None or checked[0] is not texts:
            # Once for each time that it is read, not for each request.
            checked = self._checked[name] = texts, source_of(name, texts)
        return checked[1]

    def identity_key(self) -> str:
        """Return the stack's key for profile ids and identity hashes; made once, so kept for good."""
        if self._identity_key is None:
            unknown = SettingsProblem("no_identity_key", "the stack's secret is missing", field="stack/identity-key")
            key = self._secrets.text(f"{self._prefix}/stack/identity-key", unknown)
            if not key:
                raise unknown
            self._identity_key = key
        return self._identity_key


def source_of(name: str, texts: Mapping[str, str]) -> SourceSettings:
    """Return the source that the texts of a secret describe; SettingsProblem with all that is wrong with them."""
    given = {key: text for key, text in ((key, trimmed(value)) for key, value in texts.items()) if text}
    mode = MODES.get(given.get("auth", ""))
    secret_fault = _nothing if mode is None else mode.secret_problem
    checks: Mapping[str, Callable[[str], str | None]] = {
        "dialect": _one_of(DIALECTS),
        "auth": _one_of(MODES),
        "secret": secret_fault,
        "previous_secret": secret_fault,
        "profile_key": _fault_of(compiled),
        "segment_namespaces": _nothing,
        "segments": _fault_of(lambda text: segment_limit(text, name)),
        "file_identities": _fault_of(identity_columns),
        "file_status": _nothing,
        "allow_empty": _one_of(("true", "false")),
        "description": _nothing,
        **dict.fromkeys(OPTIONS, _nothing),
        **dict.fromkeys(MAPPED_FIELDS, _fault_of(compiled)),
    }
    found = [(key, check(given[key]) if key in given else _absent(key)) for key, check in checks.items()]
    faults = [Fault(key, reason) for key, reason in found if reason is not None]
    faults += [unknown_key(key, checks) for key in given if key not in checks]
    if mode is not None:
        faults += _auth_faults(given, mode)
    mapping: dict[str, str] = {key: given[key] for key in MAPPED_FIELDS if key in given}
    if given.get("dialect") == "mapped":
        faults += [Fault(key, reason) for key, reason in faults_of_mapping(mapping)]
    else:
        faults += [Fault(key, "belongs to the dialect mapped alone") for key in mapping]
    if faults:
        # Names of ours are no secret, and stand in the names of keys.
        hidden = [text for text in texts.values() if text not in MODES and text not in DIALECTS]
        raise problem(faults, hidden=hidden)
    listed = map(trimmed, given.get("segment_namespaces", DEFAULT_NAMESPACE).split(","))
    return SourceSettings(
        name=name,
        dialect=given["dialect"],
        auth=given["auth"],
        secrets=tuple(given[key] for key in ("secret", "previous_secret") if key in given),
        profile_key=given["profile_key"],
        segment_namespaces=frozenset(filter(None, listed)),
        segments=segment_limit(given["segments"], name) if "segments" in given else None,
        auth_options={key: given[key] for key in OPTIONS if key in given},
        file_identities=identity_columns(given["file_identities"]) if "file_identities" in given else None,
        file_status=given.get("file_status"),
        allow_empty=given.get("allow_empty") == "true",
        description=given.get("description", ""),
        mapping=mapping,
    )


def _auth_faults(given: Mapping[str, str], mode: Mode) -> Iterator[Fault]:
    for key in OPTIONS:
        if key in given and key not in mode.options:
            owners = [name for name, other in MODES.items() if key in other.options]
            yield Fault(key, f"belongs to {' or '.join(owners)}, which is not this source's auth")
    for key in mode.required:
        if key not in given:
            yield Fault(key, MISSING)
    options = {key: given[key] for key in mode.options if key in given}
    yield from (Fault(key, reason) for key, reason in mode.option_problems(options).items())


class _TokenBucket:
    """Tokens: `most` of them, refilled by `per_second`."""

    def __init__(self, most: int, per_second: float, clock: Clock) -> None:
        self._most = most
        self._per_second = per_second
        self._clock = clock
        self._left = float(most)
        self._at: datetime | None = None

    def use(self) -> None:
        """Take a token; raises TooManyUnknownSources when there is none."""
        now = self._clock.now()
        passed = 0.0 if self._at is None else max(0.0, (now - self._at).total_seconds())
        self._left, self._at = min(self._most, self._left + passed * self._per_second), now
        if self._left < 1:
            raise TooManyUnknownSources("too_many_unknown_sources", "too many names of sources that are not known")
        self._left -= 1


_REQUIRED = frozenset({"dialect", "auth", "secret", "profile_key"})


def _absent(key: str) -> str | None:
    return MISSING if key in _REQUIRED else None


def _nothing(_: str) -> None:
    return None


def _one_of(known: Iterable[str]) -> Callable[[str], str | None]:
    return lambda value: None if value in known else f"must be one of {', '.join(known)}"


def _fault_of(read: Callable[[str], object]) -> Callable[[str], str | None]:
    def check(value: str) -> str | None:
        try:
            read(value)
        except ValueError as error:
            return str(error)
        return None

    return check
