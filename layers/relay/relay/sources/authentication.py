"""Proving that a request comes from the source it names: one function per mode."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from relay.sources.signatures import DEFAULTS, HEADER_NAME, Proof, is_signed, is_signed_by_segment, is_young
from relay.sources.signatures import problems as signature_problems

MIN_SIGNING_KEY_BYTES = 16
"""Standard Webhooks asks senders for 24 to 64 bytes; shorter ones exist, but nothing that could be guessed is taken."""

Headers = Mapping[str, str | Sequence[str]]
"""A header that came more than once has all its values."""

_FAMILIES = ("webhook", "svix")
"""How the headers of a signature begin: as the standard has it, and as the service it grew out of still sends them."""
_SIGNATURE = re.compile(r"(?<![^\s,])v1,([A-Za-z0-9+/_=-]+)")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")


@dataclass(frozen=True, slots=True)
class Mode:
    """How a source authenticates.

    `proves` says whether a request is proven by a secret; `secret_problem` what is wrong with a secret as such;
    `scheme` is named in `WWW-Authenticate`. `options` are the further keys of the source that belong to it, `required`
    those of them that it cannot do without; `option_problems` says what is wrong with them, by key.
    """

    scheme: str
    proves: Callable[[str, Proof], bool]
    secret_problem: Callable[[str], str | None]
    options: Sequence[str] = ()
    required: Sequence[str] = ()
    option_problems: Callable[[Mapping[str, str]], Mapping[str, str]] = lambda _: {}


def authentic(
    mode: Mode,
    secrets: Sequence[str],
    headers: Headers,
    body: bytes,
    *,
    now: datetime,
    options: Mapping[str, str] | None = None,
) -> bool:
    """Return whether any of the secrets (the current one and, while it is rotated, the previous) proves the request."""
    gathered: dict[str, list[str]] = {}
    for name, values in headers.items():
        gathered.setdefault(name.lower(), []).extend([values] if isinstance(values, str) else values)
    proof = Proof(gathered, body, now, options or {})
    # Every secret is tried, so that the time taken does not tell which one matched.
    proofs = [mode.proves(secret, proof) for secret in secrets]
    return any(proofs)


def _bearer(secret: str, proof: Proof) -> bool:
    matches = [_is_token(secret, value) for value in proof.headers.get("authorization", ())]
    return any(matches)


def _is_token(secret: str, value: str) -> bool:
    scheme, _, token = value.strip().partition(" ")
    return hmac.compare_digest(token.strip().encode(errors="replace"), secret.encode()) and scheme.lower() == "bearer"


def _bearer_problem(secret: str) -> str | None:
    odd = next((letter for letter in secret if not "!" <= letter <= "~"), None)
    if odd is None:
        return None
    return f"must be printable ASCII without blanks, as it travels in a header; it holds U+{ord(odd):04X}"


def _standard_webhooks(secret: str, proof: Proof) -> bool:
    """Verify the symmetric signatures of Standard Webhooks, of which there may be several for one message.

    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """
    for family in _FAMILIES:
        identifier, stamp = proof.one(f"{family}-id"), proof.one(f"{family}-timestamp")
        listed = " ".join(proof.headers.get(f"{family}-signature", ()))
        if identifier and stamp and listed:
            return is_young(stamp, proof.now) and _is_signed(secret, identifier, stamp, proof.body, listed)
    return False


def _is_signed(secret: str, identifier: str, stamp: str, body: bytes, listed: str) -> bool:
    try:
        keys = _signing_keys(secret)
    except ValueError:
        return False
    lead = f"{identifier}.{stamp}.".encode(errors="surrogatepass")
    given = [_decoded(one) or b"" for one in _SIGNATURE.findall(listed)]
    matches = []
    for key in keys:
        made = hmac.new(key, lead, hashlib.sha256)
        made.update(body)
        matches += [hmac.compare_digest(made.digest(), one) for one in given]
    return any(matches)


def _signing_keys(secret: str) -> list[bytes]:
    """Return the keys that a secret may mean; ValueError (with a text that does not repeat it) when it means none.

    Behind `whsec_` stands base64. Without that the text may also be the key itself: some senders take it as it is.
    `v1,` in front is how some senders show a secret. The alphabet of base64url is taken, and padding may be missing.
    """
    text = secret.strip().removeprefix("v1,").strip()
    if text.startswith(("whsk_", "whpk_")):
        raise ValueError("is a key of asymmetric signatures (v1a), which are not taken: use the whsec_ secret")
    is_marked = text.startswith("whsec_")
    text = text.removeprefix("whsec_").strip()
    decoded = _decoded(text)
    if is_marked and decoded is None:
        raise ValueError("must be whsec_ followed by base64, and what follows is no base64")
    found = [key for key in (decoded, None if is_marked else text.encode()) if key is not None]
    keys = [key for key in found if len(key) >= MIN_SIGNING_KEY_BYTES]
    if not keys:
        raise ValueError(f"must be whsec_ followed by at least {MIN_SIGNING_KEY_BYTES} bytes in base64")
    return keys


def _signing_key_problem(secret: str) -> str | None:
    try:
        _signing_keys(secret)
    except ValueError as error:
        return str(error)
    return None


def _decoded(text: str) -> bytes | None:
    """Decode base64 or base64url, with or without padding; None when it is neither."""
    if _BASE64.fullmatch(text) is None:
        return None
    bare = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except binascii.Error:
        return None


def _header(secret: str, proof: Proof) -> bool:
    values = proof.headers.get(proof.options["auth_header"].lower(), ())
    matches = [hmac.compare_digest(one.strip().encode(errors="replace"), secret.encode()) for one in values]
    return any(matches)


def _header_problem(secret: str) -> str | None:
    odd = next((letter for letter in secret if not " " <= letter <= "~"), None)
    return None if odd is None else f"must be printable ASCII, as it travels in a header; it holds U+{ord(odd):04X}"


def _header_options(options: Mapping[str, str]) -> Mapping[str, str]:
    is_name = HEADER_NAME.fullmatch(options.get("auth_header", "x")) is not None
    return {} if is_name else {"auth_header": "must be the name of a header"}


def _basic(secret: str, proof: Proof) -> bool:
    """Verify user and password: https://www.rfc-editor.org/rfc/rfc7617."""
    matches = []
    for value in proof.headers.get("authorization", ()):
        scheme, _, told = value.strip().partition(" ")
        given = _decoded(told.strip()) or b""
        matches.append(hmac.compare_digest(given, secret.encode()) and scheme.lower() == "basic")
    return any(matches)


def _basic_problem(secret: str) -> str | None:
    user, colon, password = secret.partition(":")
    return None if user and colon and password else "must be a user's name, a colon and a password"


def _any_secret(_: str) -> None:
    return None


MODES: Mapping[str, Mode] = {
    "bearer": Mode("Bearer", _bearer, _bearer_problem),
    "header": Mode("Header", _header, _header_problem, ("auth_header",), ("auth_header",), _header_options),
    "basic": Mode("Basic", _basic, _basic_problem),
    "standard-webhooks": Mode("StandardWebhooks", _standard_webhooks, _signing_key_problem),
    "hmac": Mode(
        "Signature",
        is_signed,
        _any_secret,
        ("signature_header", "timestamp_header", *DEFAULTS),
        ("signature_header",),
        signature_problems,
    ),
    "segment": Mode("Signature", is_signed_by_segment, _any_secret),
}
"""The values of a source's `auth`."""
OPTIONS: Sequence[str] = tuple(option for mode in MODES.values() for option in mode.options)
"""The keys of a source that belong to one mode alone."""
