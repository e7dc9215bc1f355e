"""Proving that a request comes from the source it names: one function per mode."""

import base64
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from standardwebhooks import Webhook, WebhookVerificationError

MIN_SIGNING_KEY_BYTES = 16
"""Standard Webhooks asks senders for 24 to 64 bytes; shorter ones exist, but nothing that could be guessed is taken."""


@dataclass(frozen=True, slots=True)
class Mode:
    """How a source authenticates.

    `proves` says whether headers (names in lower case) and body are proven by a secret; `secret_problem` what is wrong
    with a secret as such; `scheme` is told in `WWW-Authenticate`.
    """

    scheme: str
    proves: Callable[[str, Mapping[str, str], bytes], bool]
    secret_problem: Callable[[str], str | None]


def authentic(mode: Mode, secrets: Sequence[str], headers: Mapping[str, str], body: bytes) -> bool:
    """Return whether any of the secrets (the current one and, while it is rotated, the previous) proves the request."""
    lowered = {name.lower(): value for name, value in headers.items()}
    # Every secret is tried, so that the time taken does not tell which one matched.
    proofs = [mode.proves(secret, lowered, body) for secret in secrets]
    return any(proofs)


def _bearer(secret: str, headers: Mapping[str, str], body: bytes) -> bool:  # noqa: ARG001 - a token proves any body
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return hmac.compare_digest(token.strip().encode(errors="replace"), secret.encode()) and scheme.lower() == "bearer"


def _bearer_problem(secret: str) -> str | None:
    if not secret.isascii() or any(letter <= " " for letter in secret):
        return "must be printable ASCII without blanks, as it travels in a header"
    return None


def _standard_webhooks(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Verify `webhook-signature`; the library also refuses timestamps more than 5 minutes off.

    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    Replays within the 5 minutes are harmless: merging the same change twice changes nothing.
    """
    try:
        Webhook(secret).verify(body, dict(headers), json_parse=False)
    except (WebhookVerificationError, ValueError):
        # ValueError: a signature without its version, base64 or UTF-8 that is none.
        return False
    return True


def _signing_key_problem(secret: str) -> str | None:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_") + "==")
    except ValueError:
        key = b""
    if len(key) < MIN_SIGNING_KEY_BYTES:
        return f"must be whsec_ followed by at least {MIN_SIGNING_KEY_BYTES} bytes in base64"
    return None


MODES: Mapping[str, Mode] = {
    "bearer": Mode("Bearer", _bearer, _bearer_problem),
    "standard-webhooks": Mode("StandardWebhooks", _standard_webhooks, _signing_key_problem),
}
"""The values of a source's `auth`."""
