"""Plausible mistakes in imports of whole segments."""

from collections.abc import Mapping
from typing import Final
from unittest.mock import patch

from relay.segment_imports import importer
from relay.segment_imports.importer import Importer
from relay.stores.segment_imports import Turn
from tests.simulation.importing_world import ImportingWorld, SimPages
from tests.simulation.planting import Mistake, instead, now

IMPORTING: Final[Mapping[str, Mistake]] = {
    "forgets-who-was-present": Mistake(
        "an import keeps who is present in its last page alone",
        now("keep", SimPages, lambda right, self, import_id, page, ids: right(self, import_id, 0, ids)),
        ImportingWorld,
        seed=0,
    ),
    "lets-older-files-win": Mistake(
        "a set that is older than the last one is imported all the same",
        lambda: [
            patch.object(Turn, "is_before", lambda self, one: True),
            instead(Importer, "_passed", lambda right, self, one, newer: None),
        ],
        ImportingWorld,
        seed=17,
    ),
    "trusts-broken-rows": Mistake(
        "who stands in a broken row leaves unasked",
        now("to_confirm", importer, lambda right, counts: right({**counts, "broken": 0})),
        ImportingWorld,
        seed=4,
    ),
}
