"""The dialects there are; a new one is a module that has a DIALECT, and a line here.

A module is imported when its dialect is first used: a function that starts pays for that of its source alone.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module

from relay.sources.dialect import Dialect

_MODULES: Mapping[str, str] = {
    "adobe-http": "adobe_http",
    "adobe-sdk": "adobe_sdk",
    "amplitude": "amplitude",
    "mapped": "mapped",
    "mixpanel": "mixpanel",
    "mparticle": "mparticle",
    "relay-json": "relay_json",
    "segment": "segment",
}


class _Dialects(Mapping[str, Dialect]):
    """The dialects by name."""

    def __getitem__(self, name: str) -> Dialect:
        return _load(_MODULES[name])

    def __contains__(self, name: object) -> bool:
        return name in _MODULES

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


@cache
def _load(module: str) -> Dialect:
    found: Dialect = import_module(f"relay.sources.{module}").DIALECT
    return found


DIALECTS: Mapping[str, Dialect] = _Dialects()
"""The values of a source's `dialect`."""
