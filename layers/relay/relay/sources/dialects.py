"""The dialects there are; a new one is a module and a line here."""

from collections.abc import Mapping

from relay.sources import adobe_http, relay_json
from relay.sources.reading import Dialect

DIALECTS: Mapping[str, Dialect] = {
    "adobe-http": adobe_http.read,
    "relay-json": relay_json.read,
}
"""The values of a source's `dialect`."""
