"""How the documentation is built: strictly, with every name that it mentions looked up."""

import importlib
from importlib.metadata import version as installed

project = "clinicrefund"
author = "the clinicrefund contributors"
copyright = "the clinicrefund contributors"  # noqa: A001 - the name that Sphinx reads
version = release = installed("clinicrefund")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"clinicrefund {release}"

default_role = "py:obj"  # a name in backticks is a name of ours, and must exist
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True

# Names of the standard library and of others: their inventories would have to be fetched. Ours all have to be found.
nitpick_ignore_regex = [(r"py:.*", r"(?!clinicrefund\b)[a-z_]+(\.\w+)*"), (r"py:.*", r"_\w+")]

# Every public name is documented where users import it from, not in the module that happens to define it.
FACES = (
    "clinicrefund",
    "clinicrefund.http",
    "clinicrefund.journals",
    "clinicrefund.messages",
    "clinicrefund.testing",
)
for face in FACES:
    module = importlib.import_module(face)
    for name in getattr(module, "__all__", ()):
        if getattr(getattr(module, name), "__module__", "").startswith(f"{face}."):
            getattr(module, name).__module__ = face
