"""`python -m relay_cli` is `relay`."""

from relay_cli.main import run

run()
