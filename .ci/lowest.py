"""Print the lowest versions that pyproject.toml allows, one `name==version` a line, as constraints for pip."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
for requirement in (
    *project["dependencies"],
    *(one for name in ("aiohttp", "dbos", "jwt", "paypal", "postgres") for one in extras[name]),
):
    bound = re.fullmatch(r"([a-z0-9-]+)(?:\[[a-z,]+\])?>=([0-9.]+)", requirement)
    if bound is None:
        raise SystemExit(
            f"{requirement!r} in pyproject.toml is not of the form name>=version: give it a lower bound"
        )
    print(f"{bound[1]}=={bound[2]}")
