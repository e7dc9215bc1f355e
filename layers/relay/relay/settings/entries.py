"""From what administrators wrote to connections and exports; all that is wrong is told at once. Pure."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Final

from pydantic import ValidationError

from relay.destinations.contract import Destination
from relay.destinations.standard import BaseDestination
from relay.domain.exports import Connection, Export
from relay.domain.problems import Fault, SettingsProblem
from relay.settings.explaining import faults_of
from relay.settings.exports import export_text, given_export, text_faults
from relay.settings.faults import MISSING, problem, trimmed
from relay.settings.shapes import COMMON_FIELDS, CONSENT

NO_CONSENT: Final = "no_consent"


def connection_of(name: str, texts: Mapping[str, str], destinations: Callable[[str], Destination]) -> Connection:
    """Return the connection that the texts of a secret describe; SettingsProblem with all that is wrong with them."""
    common = {key: trimmed(texts.get(key, "")) for key in COMMON_FIELDS}
    codes, faults = [], []
    for required in ("destination", "display_name"):
        if not common[required]:
            codes.append("missing")
            faults.append(Fault(required, MISSING))
    if common["privacy_consent"] != CONSENT:
        codes.append(NO_CONSENT)
        faults.append(Fault("privacy_consent", f'must be "{CONSENT}" before anything is sent'))
    settings = None
    if common["destination"]:
        own = {key: value for key, value in texts.items() if key not in COMMON_FIELDS}
        try:
            model = destinations(common["destination"]).connection_model
            settings = model.model_validate(own)
        except SettingsProblem as unknown:
            codes.append(unknown.code)
            faults += unknown.faults
        except ValidationError as error:
            codes.append("invalid")
            faults += faults_of(error, model)
    if faults:
        raise problem(faults, texts.values(), code=codes[0] if len(set(codes)) == 1 else "invalid")
    return Connection(name, common["destination"], common["display_name"], settings)


def export_of(connection: str, name: str, text: str, version: int, destination: Destination) -> Export:
    """Return the export that a parameter describes; SettingsProblem with all that is wrong with it."""
    given = given_export(text)
    faults = [*text_faults(given)]
    mapping, options = given.get("mapping"), given.get("options", {})
    if isinstance(mapping, dict):
        faults += _mapping_faults(destination, mapping)
    settled = None
    if isinstance(options, dict):
        try:
            settled = destination.options_model.model_validate(options)
        except ValidationError as error:
            faults += faults_of(error, destination.options_model, inside="options")
    if faults:
        raise problem(faults)
    read = export_text(given)
    return Export(
        connection=connection,
        name=name,
        destination=destination.name,
        active=read.active,
        stream=destination.streams if read.stream is None else read.stream,
        segments=read.segments,
        mapping=read.mapping,
        options=settled,
        version=version,
        only_if=read.only_if,
    )


def _mapping_faults(destination: Destination, mapping: Mapping[str, Any]) -> list[Fault]:
    fields = destination.fields if isinstance(destination, BaseDestination) else ()
    known = (destination.identity, *fields)
    faults = []
    for field, reason in destination.mapping_problems(mapping):
        near = get_close_matches(field[:64], known, n=1) if field in mapping else []
        hint = f"; the nearest is {near[0]}" if near else ""
        faults.append(Fault(f"mapping.{field.removeprefix('mapping.')}", reason + hint, next(iter(near), None)))
    return faults
