"""The dialects there are; a new one is a module and a line here."""

from collections.abc import Mapping

from relay.sources import adobe_http, adobe_sdk, amplitude, mapped, mixpanel, mparticle, relay_json, segment
from relay.sources.dialect import Dialect

DIALECTS: Mapping[str, Dialect] = {
    "adobe-http": Dialect(adobe_http.read),
    "adobe-sdk": Dialect(adobe_sdk.read),
    "amplitude": Dialect(amplitude.read, amplitude.answer),
    "mapped": Dialect(mapped.read),
    "mixpanel": Dialect(mixpanel.read, mixpanel.answer, mixpanel.refuse),
    "mparticle": Dialect(mparticle.read, mparticle.answer),
    "relay-json": Dialect(relay_json.read),
    "segment": Dialect(segment.read),
}
"""The values of a source's `dialect`."""
