"""How a message is known that comes again: by the id its sender gave it."""

from collections.abc import Mapping

_HEADERS = ("webhook-id", "svix-id", "idempotency-key")
"""The id that Standard Webhooks signs comes first.
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/"""


def webhook_id_of(headers: Mapping[str, str]) -> str | None:
    """Return the sender's id of a message from its headers (names in lower case), None when it gave none.

    An `Idempotency-Key` is a quoted text; many senders leave the quotes out. In CloudEvents' binary mode, where the
    body is bare, source and id together are the id, as in its structured mode.
    """
    for header in _HEADERS:
        given = headers.get(header, "").strip()
        if len(given) > 1 and given[0] == given[-1] == '"':
            given = given[1:-1].strip()
        if given:
            return given
    event, source = (headers.get(name, "").strip() for name in ("ce-id", "ce-source"))
    return f"{source} {event}" if event and source else None
