"""Writing settings: what is given on the command line, asked for, checked by the stack, and only then written."""

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relay_cli.failures import Failure, PersonNeeded, UsageFailure
from relay_cli.parts import Tone
from relay_cli.relay import Answer, Relay

KEPT = "(unchanged)"
"""Stands in an editor for a secret that stays as it is; secrets themselves never lie in a file."""
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line says of a document."""

    set: Sequence[str] = ()
    """`field=value`; `options.list_id=12` is inside of an object."""
    unset: Sequence[str] = ()
    file: str | None = None
    secret_file: str | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """A field as the stack describes it."""

    name: str
    means: str
    required: bool
    secret: bool
    default: Any
    choices: Sequence[str] | None
    type: str = ""
    """As JSON schema calls it; empty where it is not known. A list is typed with commas between, or as JSON."""


@dataclass(frozen=True)
class Kind:
    """What a source, a connection or an export is, as far as writing one down goes."""

    word: str
    """`source`, `connection` or `export`: as the stack calls it."""
    fields: Callable[[Answer, Document], Sequence[Field]]
    """The fields of a document so far, from the stack's description."""
    texts_only: bool = True
    """Whether every value is a text, as in a secret."""

    @property
    def command(self) -> str:
        """The command that works on these."""
        return f"relay {self.word}s"


def read_fields(described: Iterable[Mapping[str, Any]]) -> list[Field]:
    """Return fields as the stack describes them."""
    return [
        Field(
            name=one["name"],
            means=str(one.get("means") or ""),
            required=bool(one.get("required")),
            secret=bool(one.get("secret")),
            default=one.get("default"),
            choices=one.get("choices"),
            type=str(one.get("type") or ""),
        )
        for one in described
    ]


def require_name(kind: Kind, name: str) -> None:
    """Refuse, with UsageFailure, what nothing can be called."""
    parts = name.split("/")
    if kind.word == "export" and len(parts) != 2:
        hint = f"Did you mean {name.replace('.', '/', 1)}?" if "." in name else ""
        raise UsageFailure(f"{name} is no export: it is called connection/export.", hint, f"{kind.command} list")
    if not all(NAME.fullmatch(part) for part in parts) or (kind.word != "export" and len(parts) != 1):
        raise UsageFailure(
            f"{name} is no name.",
            "1 to 63 lower-case letters, digits or hyphens, not a hyphen first.",
            f"{kind.command} list",
        )


def completed(relay: Relay, kind: Kind, begun: Document, given: Given, *, asks: bool) -> Document:
    """Return a document with what the command line says and, where somebody is there, what is asked for.

    With `asks` every required field that is missing is asked for. Raises UsageFailure where a secret is on the command
    line.
    """
    described = relay.ask("describe")
    document = {**begun, **({} if given.file is None else _from_file(relay, given.file))}
    # A secret that names its destination here has other fields afterwards, and texts in any case.
    known = kind.fields(described, document)
    for text in given.set:
        name, value = _assignment(text)
        _put(document, name, value if kind.texts_only else _value(known, name, value))
    for name in given.unset:
        _take(document, name)
    known = kind.fields(described, document)
    secrets = {one.name for one in known if one.secret}
    _refuse_arguments(given, secrets)
    if given.secret_file is not None:
        document |= _secrets(relay, given.secret_file, known, document)
    if asks and relay.person.is_there:
        _ask(relay, kind, described, document)
        # Which fields are secret may depend on what was asked for.
        _refuse_arguments(given, {one.name for one in kind.fields(described, document) if one.secret})
    return document


def _refuse_arguments(given: Given, secrets: Collection[str]) -> None:
    for text in given.set:
        if _assignment(text)[0] in secrets:
            raise UsageFailure(
                f"{_assignment(text)[0]} is a secret, and no argument.",
                "Arguments lie in the history of the shell and in the list of processes.",
                "--secret-file FILE (or - for standard input), or leave it out to be asked",
            )


def hidden(kind: Kind, described: Answer, document: Document) -> set[str]:
    """Return the fields of a document that nobody is shown: secrets, and in a secret whatever the stack does not know.

    A destination that is misspelt has no fields that are known.
    """
    known = kind.fields(described, document)
    unknown = set(document) - {one.name for one in known} if kind.texts_only else set()
    return {one.name for one in known if one.secret} | unknown


def edited(relay: Relay, kind: Kind, document: Document) -> Document:
    """Let somebody edit a document as JSON; secrets stand in it as `(unchanged)` and can be replaced."""
    described = relay.ask("describe")
    secrets = hidden(kind, described, document)
    shown = {name: KEPT if name in secrets else value for name, value in document.items()}
    if not relay.person.is_there:
        raise PersonNeeded(
            "There is nothing to change.",
            "No option says what, and nobody is there to edit.",
            f"{kind.command} edit NAME --set FIELD=VALUE",
        )
    before = json.dumps(shown, indent=2, ensure_ascii=False) + "\n"
    after = relay.edit(before)
    if after == before:
        raise PersonNeeded("Nothing was changed.", "The text is as it was.")
    found = _object(after, "the edited text")
    return {name: document[name] if value == KEPT and name in secrets else value for name, value in found.items()}


def tested(relay: Relay, kind: Kind, name: str, document: Document) -> list[Answer]:
    """Return the stack's warnings of what is written; raises Failure with all that is wrong with it."""
    answer = relay.ask("validate", kind=kind.word, name=name, document=document, looks=True)
    if answer["errors"]:
        raise Failure(
            f"The {kind.word} {name} is not right as it is written.",
            "All that is wrong:",
            f"{kind.command} edit {name}",
            errors=[dict(one) for one in answer["errors"]],
        )
    return list(answer["warnings"])


def checked(relay: Relay, kind: Kind, name: str, document: Document, *, looks: bool = True) -> list[Answer]:
    """Return the stack's warnings of a document to be written; raises Failure with all that is wrong with it."""
    answer = relay.ask("validate", kind=kind.word, name=name, document=document, looks=looks)
    if answer["errors"]:
        raise Failure(
            f"The {kind.word} {name} cannot be written so.",
            "Nothing was written. All that is wrong:",
            "correct this, and type the command again",
            errors=[dict(one) for one in answer["errors"]],
        )
    return list(answer["warnings"])


def require_unchanged(kind: Kind, name: str, before: Document, now: Document, after: Document) -> None:
    """Refuse to write over what somebody else has written since it was read. Raises Failure."""
    if now == before:
        return
    theirs, own = (", ".join(_differing(before, one)) or "nothing" for one in (now, after))
    raise Failure(
        f"Somebody else has changed the {kind.word} {name} meanwhile. Nothing was written.",
        f"They changed: {theirs}. You: {own}.",
        f"{kind.command} edit {name}, which begins with what is written now",
    )


def _differing(one: Document, other: Document) -> list[str]:
    """Return the fields that differ; those inside of objects with the object's name and a dot in front."""
    found = []
    for name in sorted({*one, *other}):
        before, after = one.get(name), other.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            found += [f"{name}.{inner}" for inner in _differing(before, after)]
        elif before != after:
            found.append(name)
    return found


def say_warnings(relay: Relay, warnings: Iterable[Answer]) -> None:
    """Say what the stack warns of."""
    for one in warnings:
        relay.screen.note(f"warning: {one['field']}: {one['what']}", Tone.WARN)


def masked(document: Mapping[str, Any], secrets: Iterable[str]) -> Document:
    """Return a document without its secrets."""
    hidden = set(secrets)
    return {name: "********" if name in hidden and value else value for name, value in document.items()}


def _ask(relay: Relay, kind: Kind, described: Answer, document: Document) -> None:
    """Ask for what is required and missing. What a field is may depend on the answers before (the destination)."""
    asked: set[str] = set()
    while True:
        missing = [
            one
            for one in kind.fields(described, document)
            if one.required and one.name not in asked and not _get(document, one.name)
        ]
        if not missing:
            return
        one = missing[0]
        asked.add(one.name)
        choices = f" One of {', '.join(one.choices)}." if one.choices else ""
        relay.screen.note(f"{one.name}: {one.means}{choices}")
        answer = relay.person.secret(f"{one.name} (not shown):") if one.secret else relay.person.answer(f"{one.name}:")
        if answer:
            _put(document, one.name, answer if one.secret or kind.texts_only else _value([one], one.name, answer))


def _secrets(relay: Relay, file: str, known: Sequence[Field], document: Document) -> Document:
    """Return secret fields from a file: one as it stands, or several as a JSON object."""
    text = relay.read(file).decode(errors="replace").strip()
    secrets = [one for one in known if one.secret]
    if text.startswith("{"):
        found = _object(text, file)
        others = [name for name in found if name not in {one.name for one in secrets}]
        if others:
            raise UsageFailure(
                f"{', '.join(others)} in {file}: no secret.", f"Secrets are {', '.join(one.name for one in secrets)}."
            )
        return found
    needed = [one for one in secrets if one.required] or secrets[:1]
    open_ = [one for one in needed if not document.get(one.name)] or needed
    if len(open_) != 1:
        names = ", ".join(one.name for one in secrets)
        raise UsageFailure(f"{file} does not say which secret it is.", f"Write a JSON object with {names}.")
    return {open_[0].name: text}


def _from_file(relay: Relay, file: str) -> Document:
    return _object(relay.read(file).decode(errors="replace"), file)


def _object(text: str, where: str) -> Document:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UsageFailure(f"{where} is no JSON.", str(error)) from None
    if not isinstance(found, dict):
        raise UsageFailure(f"{where} is no JSON object.")
    return found


def _assignment(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise UsageFailure(f"--set {text}: it has the form field=value.", "", "--set options.list_id=12")
    return name.strip(), value


def _value(known: Sequence[Field], name: str, text: str) -> Any:
    """Return a value of the command line, of the type that the field has; JSON where the field is not known."""
    kind = next((one.type for one in known if one.name == name), "")
    is_list = text.lstrip().startswith("[")
    if kind == "string":
        return text
    if kind == "array" and not is_list:
        return [part.strip() for part in text.split(",") if part.strip()]
    # Where the type is not known a number stays a text: numbers of lists and fields are texts.
    if kind in ("integer", "number", "boolean") or text in ("true", "false", "null") or text[:1] == "{" or is_list:
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _put(document: Document, name: str, value: Any) -> None:
    """Set a field. What follows the first dot is one key, since fields of mappings have dots of their own."""
    first, dot, rest = name.partition(".")
    if not dot:
        document[name] = value
        return
    inner = document.get(first)
    document[first] = {**(inner if isinstance(inner, dict) else {}), rest: value}


def _get(document: Document, name: str) -> Any:
    first, dot, rest = name.partition(".")
    inner = document.get(first)
    return (inner.get(rest) if isinstance(inner, dict) else None) if dot else inner


def _take(document: Document, name: str) -> None:
    first, dot, rest = name.partition(".")
    inner = document.get(first)
    if dot and isinstance(inner, dict):
        document[first] = {key: value for key, value in inner.items() if key != rest}
    else:
        document.pop(name, None)
