"""Print the lower bounds of pyproject.toml as pip's constraints.

With the output in lowest.txt: make test PYTHON=python3.11 PIP_CONSTRAINT=$PWD/lowest.txt
"""

import re
import tomllib
from pathlib import Path

EXTRAS = ("launchers", "search", "postgresql", "timm")  # not the tools of tests and linters

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
requirements = list(project["dependencies"])
for extra in EXTRAS:
    requirements += project["optional-dependencies"][extra]
for requirement in requirements:
    name, bound = re.fullmatch(r"([\w-]+)(?:\[\w+\])?>=([\w.]+)(?:,<.*)?", requirement).groups()
    print(f"{name}=={bound}")
