"""CloudEvents 1.0 around a body of any dialect: structured, one event or a batch.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
The content type says that a body is wrapped. `source` and `id` together are the sender's id of each event.
"""

import base64
import binascii
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from relay.problem_details import MAX_ERRORS, InputError, Refusal, pointer, too_large, wrong_shape
from relay.sources import slices
from relay.sources.json_body import document
from relay.sources.reading import MAX_PROFILES, LeftOut, Place, Reading
from relay.sources.recognising import sender_of

ONE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"


def unwrapped(raw: bytes, content_type: str, read: Callable[[bytes], Reading]) -> Reading:
    """Return what `read` finds in a body, or in each event of it if the content type says that there are some.

    An event that cannot be read harms no other. Raises Refusal when none can, as `read` does.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in (ONE, BATCH):
        return read(raw)
    body = document(raw)
    text = raw.decode("utf-8-sig")
    if kind == ONE:
        return _event(body, text, (), read)
    if not isinstance(body, list):
        raise wrong_shape([InputError("must be a list of CloudEvents", pointer([]))], sender_of(body))
    return _batch(body, text, read)


def _batch(body: Sequence[Any], text: str, read: Callable[[bytes], Reading]) -> Reading:
    found: list[Reading] = []
    errors: list[InputError] = []
    refused: list[InputError] = []
    number = 0
    for place, (event, written) in enumerate(zip(body, slices.elements(text), strict=True)):
        try:
            one = _event(event, written, (place,), read)
        except Refusal as refusal:
            inside = refusal.errors or [InputError(refusal.detail, pointer([place]))]
            refused.append(inside[0])
            errors += inside[: max(MAX_ERRORS - len(errors), 0)]
            continue
        number += len(one.profiles)
        if number > MAX_PROFILES:
            raise too_large(f"A request holds at most {MAX_PROFILES} profiles.")
        found.append(one)
    if errors and not found:
        raise wrong_shape(errors)
    pages = [one.page for one in found if one.page is not None]
    if len(pages) > 1:
        raise wrong_shape([InputError("holds more than one page of a segment", pointer([]))])
    return Reading(
        [profile for one in found for profile in one.profiles],
        [*refused, *(error for one in found for error in one.misshapen)],
        [part for one in found for part in one.left_out],
        page=pages[0] if pages else None,
        ignored=sum((Counter(one.ignored) for one in found), Counter()),
        reply=found[0].reply if found else {},
    )


def _event(event: Any, text: str, place: Place, read: Callable[[bytes], Reading]) -> Reading:
    wrong = _flaw(event)
    if wrong is not None:
        raise wrong_shape([InputError(wrong[1], pointer((*place, *wrong[0])))], sender_of(event))
    key = "data" if "data" in event else "data_base64"
    try:
        data = _data(event, text)
    except (ValueError, RecursionError):
        raise wrong_shape([InputError("cannot be read", pointer((*place, key)))]) from None
    place = (*place, key)
    try:
        reading = read(data)
    except Refusal as refusal:
        moved = [InputError(one.detail, _moved(place, one.pointer)) for one in refusal.errors]
        raise Refusal(refusal.status, refusal.code, refusal.detail, moved, refusal.headers) from None
    own_id = f"{event['source']} {event['id']}"
    return replace(
        reading,
        profiles=[
            replace(
                one,
                place=(*place, *one.place),
                left_out=[_part(place, part) for part in one.left_out],
                webhook_id=own_id if one.webhook_id is None else one.webhook_id,
            )
            for one in reading.profiles
        ],
        misshapen=[InputError(one.detail, _moved(place, one.pointer)) for one in reading.misshapen],
        left_out=[_part(place, part) for part in reading.left_out],
    )


def _flaw(event: Any) -> tuple[Place, str] | None:
    if not isinstance(event, dict):
        return (), "must be a CloudEvent (an object)"
    for key in ("id", "source", "type", "specversion"):
        given = event.get(key)
        if not isinstance(given, str) or not given or not _is_whole(given):
            return (key,), "must be a text that is not empty"
    if event["specversion"] != "1.0":
        return ("specversion",), "must be 1.0"
    binary = event.get("data_base64")
    if "data" in event and binary is not None:
        return (), "must have data or data_base64, not both"
    if "data" not in event and not isinstance(binary, str):
        return (), "must have data or data_base64"
    return None


def _is_whole(text: str) -> bool:
    return text.encode(errors="replace").decode() == text


def _data(event: dict[str, Any], text: str) -> bytes:
    if "data" not in event:
        try:
            return base64.b64decode(event["data_base64"], validate=True)
        except binascii.Error as error:
            raise ValueError(str(error)) from None
    # A sender that does not say that its data is JSON may have it as a text.
    if isinstance(event["data"], str):
        return event["data"].encode()
    return slices.members(text)["data"].encode()


def _part(place: Place, part: LeftOut) -> LeftOut:
    return LeftOut(part.code, InputError(part.error.detail, _moved(place, part.error.pointer)))


def _moved(place: Place, inner: str) -> str:
    return pointer(place) + inner.removeprefix("#")
