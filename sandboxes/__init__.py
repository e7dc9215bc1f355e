"""Honest local stand-ins of the destinations' APIs, for demos, stack tests, contract tests and benchmarks.

They answer as the vendors document it; where the vendors document nothing, a comment at the place says what was
chosen and why. Nothing of the product is imported here, and nothing here by the product.

Each is a package with `Config`, the settings of an account, `create_app`, which returns the sandbox of one, and
`SAMPLE`, a connection and an export that work with the defaults.
"""

from pkgutil import iter_modules


def names() -> list[str]:
    """Return the names of the sandboxes there are: those of their packages, which are those of the destinations."""
    return sorted(module.name for module in iter_modules(__path__) if module.ispkg)
