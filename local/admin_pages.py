"""Prints what the admin functions' models say into the docs.

python -m local.admin_pages          write the schema of questions and answers
"""

from pathlib import Path

from relay.workers.operators.protocol import schema_text
from relay.workers.operators.questions import QUESTIONS

DOCS = Path(__file__).parents[1] / "docs"

if __name__ == "__main__":
    (DOCS / "admin-api.schema.json").write_text(schema_text(QUESTIONS))
