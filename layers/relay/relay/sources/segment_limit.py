"""The segments that a source limits itself to, as its administrator writes them."""

import json


def segment_limit(text: str, source: str) -> frozenset[str]:
    """Return the references `source/segment` of a list of the platform's segment ids; ValueError when it is none.

    Ids are separated by line breaks, or where there is none by commas. A JSON list of texts serves for ids that hold
    either. An id may be written with the source in front of it, as exports name it.
    """
    ids = [one.strip() for one in _ids(text.strip())]
    named = [one for one in ids if one]
    if not named:
        raise ValueError("must name at least one segment; leave it out to keep all")
    prefix = f"{source}/"
    return frozenset(f"{prefix}{one}" for one in named) | {one for one in named if one.startswith(prefix)}


def _ids(text: str) -> list[str]:
    if not text.startswith("["):
        return text.splitlines() if "\n" in text else text.split(",")
    try:
        listed = json.loads(text)
    except ValueError:
        raise ValueError("begins like a JSON list, but is none") from None
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise ValueError("must be a JSON list of texts")
    return listed
