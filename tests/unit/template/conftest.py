"""The template as it is written, unrolled, and with what SAM makes of it."""

import pytest

from tests.unit.template import expanding
from tests.unit.template.expanding import Resources, Source


@pytest.fixture(scope="session")
def source() -> Source:
    """Return the template with its loops unrolled."""
    return expanding.unrolled(expanding.read())


@pytest.fixture(scope="session")
def resources(source: Source) -> Resources:
    """Return all that the template makes."""
    return expanding.resources_of(source)
