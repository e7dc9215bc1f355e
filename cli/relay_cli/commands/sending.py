"""Posting a body as a source does, and following it to the destinations."""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from datetime import datetime

from relay_cli.commands.common import Input
from relay_cli.door import Posted
from relay_cli.failures import Exit, Failure, TimedOut
from relay_cli.parts import Cell, Line, Tone, number
from relay_cli.relay import Answer, Injected, Relay, unknown
from relay_cli.views import people as view

_LEAST_KEY_BYTES = 16
_UNCOUNTED = "It was taken. The answer that this platform wants does not say how many changes were rejected."
_NAMES_NOBODY = "no_identity"
"""The code of a change that names nobody as the source knows people."""


def send(source: str, file: Input, /, *, no_follow: bool = False, timeout: float = 60, relay: Injected) -> int:
    """Post a file to a source, signed as the source wants it, and follow it to the destinations.

    Exports that do not stream show it with their next run. Exit code 1 when something was rejected.

    Parameters
    ----------
    source
        The source's name.
    file
        The file with the body; - for standard input.
    no_follow
        Only post it: do not wait until each change is merged, and delivered or not.
    timeout
        Seconds to wait at most.
    """
    body = relay.read(file)
    settings = relay.door.secret("sources", source)
    if settings is None:
        raise unknown("source", source, relay.door.secret_names("sources"), "relay sources list")
    proven = proof(settings, body, relay.now())
    posted = relay.door.post(source, body, proven)
    answer = _body(posted.body)
    if posted.status >= 300:
        raise Failure(
            f"The webhook answers {posted.status}.",
            _reason(answer),
            _helps(source, posted.status),
            errors=[
                {"field": str(one.get("pointer") or one.get("field") or "-"), "what": str(one.get("detail") or one)}
                for one in answer.get("errors") or ()
            ],
        )
    # Some platforms want an answer of their own, which has no counts.
    is_counted = "accepted" in answer
    if is_counted:
        relay.screen.note(f"accepted {number(answer['accepted'])}, rejected {number(answer.get('rejected'))}")
    else:
        relay.screen.note("The webhook took it.")
    if no_follow:
        said = f"{number(answer['accepted'])} changes were accepted." if is_counted else _UNCOUNTED
        relay.screen.show(answer, [Line(Cell(said, Tone.GOOD))])
        return Exit.WRONG if answer.get("rejected") else Exit.WELL
    return _followed(relay, source, body, posted, proven, timeout, settings.get("profile_key", "missing"))


def _reason(answer: Answer) -> str:
    """Return why a webhook refused: of problem details, or of the answer that Mixpanel wants."""
    error = answer.get("error")
    message = error.get("message") if isinstance(error, dict) else None
    return str(answer.get("detail") or message or answer.get("title") or "")


def _helps(source: str, status: int) -> str:
    """Return what to do after a refusal: the body is at fault, the proof, or the source."""
    if status in (400, 413, 415, 422):
        return "correct the file, and send it again"
    return f"relay sources test {source}"


def proof(settings: Mapping[str, str], body: bytes, now: datetime) -> Mapping[str, str]:
    """Return the headers that prove a body to a source, in every mode that sources have."""
    secret, auth = settings.get("secret", "").strip(), settings.get("auth")
    match auth:
        case "bearer":
            return {"Authorization": f"Bearer {secret}"}
        case "basic":
            return {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"}
        case "header":
            return {settings.get("auth_header", ""): secret}
        case "segment":
            # https://www.twilio.com/docs/segment/connections/destinations/catalog/webhooks
            return {"X-Signature": hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()}
        case "hmac":
            return _signed(settings, secret, body, now)
        case "standard-webhooks":
            return _standard_webhooks(secret, body, now)
    raise Failure(f"This source wants {auth}, which relay cannot sign.", "", "relay sources show NAME")


def _signed(settings: Mapping[str, str], secret: str, body: bytes, now: datetime) -> Mapping[str, str]:
    """Return the signature that a source's options describe, with its time where that is signed."""
    stamp = str(int(now.timestamp()))
    before, _, after = settings.get("signed_text", "{body}").partition("{body}")
    text = b"".join((before.replace("{timestamp}", stamp).encode(), body, after.replace("{timestamp}", stamp).encode()))
    made = hmac.new(secret.encode(), text, settings.get("signature_algorithm", "sha256")).digest()
    is_hex = settings.get("signature_encoding", "hex") == "hex"
    signature = made.hex() if is_hex else base64.b64encode(made).decode()
    stamped = {settings["timestamp_header"]: stamp} if "timestamp_header" in settings else {}
    return {settings.get("signature_header", ""): f"{settings.get('signature_prefix', '')}{signature}", **stamped}


def _standard_webhooks(secret: str, body: bytes, now: datetime) -> Mapping[str, str]:
    """https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md."""
    number_of, stamp = f"msg_{secrets.token_hex(12)}", str(int(now.timestamp()))
    made = hmac.new(signing_key(secret), f"{number_of}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": number_of,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(made).decode()}",
    }


def signing_key(secret: str) -> bytes:
    """Return the key that a secret of Standard Webhooks stands for: base64 behind `whsec_`, or the text itself."""
    text = secret.removeprefix("v1,").strip().removeprefix("whsec_")
    bare = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        key = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except binascii.Error:
        return text.encode()
    return key if len(key) >= _LEAST_KEY_BYTES else text.encode()


def _followed(
    relay: Relay,
    source: str,
    body: bytes,
    posted: Posted,
    proven: Mapping[str, str],
    timeout: float,
    profile_key: str,
) -> int:
    text, latest = body.decode(errors="replace"), list[Answer]()

    def look() -> Answer | None:
        asked = {"source": source, "body": text, "received_at": posted.sent_at.isoformat()}
        pages = list(relay.pages("follow", **asked, webhook_id=proven.get("webhook-id")))
        seen = {
            "changes": [change for page in pages for change in page["changes"]],
            "left_out": sum(page["left_out"] for page in pages),
        }
        latest.append(seen)
        return seen if all(page["settled"] for page in pages) else None

    answer = relay.wait(timeout, look)
    shown = latest[-1]
    left_out = [{"left_out": shown["left_out"]}] if shown["left_out"] else []
    relay.screen.show_list([*shown["changes"], *left_out], view.followed(shown))
    if any(change["rejected"] == _NAMES_NOBODY for change in shown["changes"]):
        relay.screen.note(
            f"What names a person is {profile_key} (profile_key of {source}). "
            f"Next: relay sources test {source} FILE, which shows what the body names"
        )
    if answer is None:
        why = "Some changes are not merged or not delivered yet. Exports that do not stream wait for their next run."
        raise TimedOut(f"Not all is settled after {timeout:.0f} seconds.", why, "relay status")
    bad = any(change["rejected"] is not None or _rejects(change) for change in shown["changes"])
    return Exit.WRONG if bad else Exit.WELL


def _rejects(change: Answer) -> bool:
    return any(one["state"] == "rejected" for one in change["exports"])


def _body(text: str) -> Answer:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
