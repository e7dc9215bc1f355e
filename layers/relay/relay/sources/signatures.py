"""HMAC signatures in a header: as the source's options describe them, and as Twilio Segment makes them."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from relay.sources import slices

TOLERANCE_SECONDS = 300
"""How old or early a signature may be. Replays within it are harmless: merging the same change twice changes nothing.
"""

ALGORITHMS = ("sha1", "sha256", "sha512")
ENCODINGS = ("hex", "base64")
DEFAULTS: Mapping[str, str] = {
    "signature_algorithm": "sha256",
    "signature_prefix": "",
    "signature_encoding": "hex",
    "signed_text": "{body}",
}
"""The options that may be left out."""

HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_PLACES = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True, slots=True)
class Proof:
    """What a request shows: headers (names in lower case, each with all its values), body, and when it came.

    `options` are those of the source's mode.
    """

    headers: Mapping[str, Sequence[str]]
    body: bytes
    now: datetime
    options: Mapping[str, str] = field(default_factory=dict)

    def one(self, name: str) -> str:
        """Return a header that may come once, empty when it is missing or came more often."""
        values = self.headers.get(name, ())
        return values[0].strip() if len(values) == 1 else ""


def is_young(stamp: str, now: datetime) -> bool:
    """Return whether UNIX seconds are at most TOLERANCE_SECONDS off."""
    if _TIMESTAMP.fullmatch(stamp) is None:
        return False
    return abs(now.timestamp() - int(stamp)) <= TOLERANCE_SECONDS


def is_signed(secret: str, proof: Proof) -> bool:
    """Verify the signature that the options describe; with a timestamp in it, it must be young as well."""
    options = {**DEFAULTS, **proof.options}
    given = proof.one(options["signature_header"].lower())
    prefix = options["signature_prefix"]
    stamp = proof.one(options["timestamp_header"].lower()) if "timestamp_header" in options else ""
    before, _, after = options["signed_text"].partition("{body}")
    made = hmac.new(secret.encode(), digestmod=options["signature_algorithm"])
    for part in (_filled(before, stamp), proof.body, _filled(after, stamp)):
        made.update(part)
    told = _decoded(given.removeprefix(prefix), options["signature_encoding"])
    is_right = hmac.compare_digest(made.digest(), told)
    return is_right and given.startswith(prefix) and ("timestamp_header" not in options or is_young(stamp, proof.now))


def _filled(text: str, stamp: str) -> bytes:
    return text.replace("{timestamp}", stamp).encode(errors="surrogatepass")


def _decoded(text: str, encoding: str) -> bytes:
    try:
        if encoding == "hex":
            return bytes.fromhex(text) if text.isalnum() else b""
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""


def problems(options: Mapping[str, str]) -> Mapping[str, str]:
    """Return what is wrong with the options of a signature, by the key that must be mended."""
    found: dict[str, str] = {}
    for key in ("signature_header", "timestamp_header"):
        if key in options and HEADER_NAME.fullmatch(options[key]) is None:
            found[key] = "must be the name of a header"
    for key, known in (("signature_algorithm", ALGORITHMS), ("signature_encoding", ENCODINGS)):
        if key in options and options[key] not in known:
            found[key] = f"must be one of {', '.join(known)}"
    signed = options.get("signed_text", DEFAULTS["signed_text"])
    if signed.count("{body}") != 1 or not set(_PLACES.findall(signed)) <= {"{body}", "{timestamp}"}:
        found["signed_text"] = "must hold {body} once, and nothing else in braces but {timestamp}"
    elif ("{timestamp}" in signed) != ("timestamp_header" in options):
        # A time that is not signed proves nothing, and a signed one must be known.
        found["timestamp_header"] = "must be given if, and only if, signed_text holds {timestamp}"
    return found


def is_signed_by_segment(secret: str, proof: Proof) -> bool:
    """Verify `X-Signature`: lower-case hexadecimal HMAC-SHA1 of the body, or of the first element of a batch.

    https://www.twilio.com/docs/segment/connections/destinations/catalog/webhooks covers the whole body;
    https://github.com/segmentio/action-destinations (webhook/index.ts) signs the first element of a batch.
    """
    given = proof.one("x-signature").encode(errors="replace")
    matches = [
        hmac.compare_digest(hmac.new(secret.encode(), text, hashlib.sha1).hexdigest().encode(), given)
        for text in (proof.body, _first_element(proof.body))
        if text is not None
    ]
    return any(matches)


def _first_element(body: bytes) -> bytes | None:
    if not body.lstrip().startswith(b"["):
        return None
    try:
        return next((one.encode() for one in slices.elements(body.decode())), None)
    except (ValueError, RecursionError):
        return None
