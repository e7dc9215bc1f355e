"""`relay`: operates Audience Relay from a terminal. It knows the stack only by what the stack answers."""

from typing import Final

__version__: Final = "0.1.0"
"""Of this command line; the stack answers its own."""
