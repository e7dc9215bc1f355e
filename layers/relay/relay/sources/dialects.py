"""The dialects there are; a new one is a module and a line here."""

from collections.abc import Mapping

from relay.sources import adobe_http, adobe_sdk, mapped, mparticle, relay_json, segment
from relay.sources.dialect import Dialect

DIALECTS: Mapping[str, Dialect] = {
    "adobe-http": Dialect(adobe_http.read),
    "adobe-sdk": Dialect(adobe_sdk.read),
    "mapped": Dialect(mapped.read),
    "mparticle": Dialect(mparticle.read, mparticle.answer),
    "relay-json": Dialect(relay_json.read),
    "segment": Dialect(segment.read),
}
"""The values of a source's `dialect`."""
