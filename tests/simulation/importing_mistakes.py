"""Plausible mistakes in imports of whole segments."""

from collections.abc import Mapping
from typing import Final
from unittest.mock import patch

from relay.domain.closed_sets import Present
from relay.segment_imports import importer
from relay.segment_imports.importer import Importer
from relay.stores.segment_imports import Turn
from tests.simulation.importing_world import ImportingWorld
from tests.simulation.planting import Mistake, instead, now

IMPORTING: Final[Mapping[str, Mistake]] = {
    "forgets-who-became-one": Mistake(
        "who is named by an id that became an alias leaves",
        now("names", Present, lambda right, self, profile: False),
        ImportingWorld,
        seed=3,
    ),
    "lets-older-files-win": Mistake(
        "a set that is older than the last one is imported all the same",
        lambda: [
            patch.object(Turn, "is_before", lambda self, one: True),
            instead(Importer, "_passed", lambda right, self, one, newer: None),
        ],
        ImportingWorld,
        seed=6,
    ),
    "trusts-broken-rows": Mistake(
        "who stands in a broken row leaves unasked",
        now("to_confirm", importer, lambda right, counts, left: right({**counts, "broken": 0}, left)),
        ImportingWorld,
        seed=4,
    ),
}
