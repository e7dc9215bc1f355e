"""`python -m local.live activecampaign|gainsight-px [--json]`.

Exit status: 0 when every line fits our reading of the docs, 1 when one does not or is unclear, 2 when nothing could be
looked at.
"""

from __future__ import annotations

import argparse
import os
import sys

from local.live.command import run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m local.live", description=__doc__)
    parser.add_argument("destination", choices=("activecampaign", "gainsight-px"))
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table (as JSON=1)")
    options = parser.parse_args()
    sys.exit(run(options.destination, os.environ, sys.stdout, as_json=options.json, ask=None))
