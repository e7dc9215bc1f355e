"""The dialects there are; a new one is a module and a line here."""

from collections.abc import Mapping

from relay.sources import adobe_http, amplitude, mixpanel, relay_json
from relay.sources.dialect import Dialect

DIALECTS: Mapping[str, Dialect] = {
    "adobe-http": Dialect(adobe_http.read),
    "amplitude": Dialect(amplitude.read, amplitude.answer),
    "mixpanel": Dialect(mixpanel.read, mixpanel.answer, mixpanel.refuse),
    "relay-json": Dialect(relay_json.read),
}
"""The values of a source's `dialect`."""
