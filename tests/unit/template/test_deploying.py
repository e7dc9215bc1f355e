"""The page of rights: what it says of deploying."""

import re
from pathlib import Path

from tests.unit.template.expanding import Resources

PAGE = Path(__file__).parents[3] / "docs/who-may-do-what.md"


def test_the_rights_to_deploy_name_every_service_of_the_template(resources: Resources) -> None:
    used = {str(resource["Type"]).split("::")[1].lower() for resource in resources.values()}
    named = re.findall(r"^\| `(\w+)` \|", PAGE.read_text().partition("## Who may deploy")[2], re.MULTILINE)

    assert set(named) - {"cloudformation"} == used
