"""How the documentation is built: strictly. Every name that it mentions has to exist."""

import builtins
import importlib
import pkgutil
from importlib.metadata import version as installed
from types import ModuleType

import attrs
from docutils.nodes import Element
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import clinicrefund

project = "clinicrefund"
author = "the clinicrefund contributors"
copyright = "the clinicrefund contributors"  # noqa: A001 - the name that Sphinx reads
version = release = installed("clinicrefund")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"clinicrefund {release}"

default_role = "py:obj"  # a name in backticks is a name of code, and is looked up
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True

MODULES = {
    name: importlib.import_module(name)
    for name in (
        "clinicrefund",
        *(each.name for each in pkgutil.walk_packages(clinicrefund.__path__, "clinicrefund.")),
    )
    if not name.endswith("__main__")
}
FACES = (
    *(
        "clinicrefund",
        "clinicrefund.http",
        "clinicrefund.journals",
        "clinicrefund.messages",
        "clinicrefund.testing",
    ),
    *("clinicrefund.blocking", "clinicrefund.journals.postgres", "clinicrefund.web"),
    *("clinicrefund.engines", "clinicrefund.engines.dbos", "clinicrefund.engines.fleet"),
)

# Every public name is documented where users import it from, not in the module that happens to define it.
PUBLIC: dict[str, str] = {}
for face in reversed(FACES):
    for name in getattr(MODULES[face], "__all__", ()):
        PUBLIC[name] = f"{face}.{name}"
        if getattr(getattr(MODULES[face], name), "__module__", "").startswith("clinicrefund"):
            getattr(MODULES[face], name).__module__ = face


def _has(owner: object, path: list[str]) -> bool:
    """Whether what a dotted path names is there: an attribute, or a field of an attrs class."""
    if not path:
        return True
    if isinstance(owner, type) and attrs.has(owner) and path[0] in attrs.fields_dict(owner):
        return len(path) == 1
    return hasattr(owner, path[0]) and _has(getattr(owner, path[0]), path[1:])


def _exists(target: str) -> bool:
    first, *rest = target.split(".")
    if any(_has(module, [first, *rest]) for module in (builtins, *MODULES.values())):
        return True
    for length in range(len(rest) + 1, 0, -1):
        path = [first, *rest]
        try:
            module: ModuleType = importlib.import_module(".".join(path[:length]))
        except ImportError:
            continue
        return _has(module, path[length:])
    return False


def look_up(app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: Element) -> Element | None:
    """What Sphinx did not find by itself: linked where it is public, left as text where it exists, else a warning.

    Docstrings name things as their module does (``Unavailable``), and annotations by the module that defines them.
    """
    if node.get("refdomain") != "py":
        return None
    target: str = node["reftarget"]
    names = target.split(".")
    public = next((PUBLIC[name] for name in names if name in PUBLIC), None)
    if public is not None and _exists(target):
        domain = env.domains["py"]
        return (
            domain.resolve_xref(env, node["refdoc"], app.builder, "obj", public, node, contnode) or contnode
        )
    return contnode if _exists(target) else None


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("missing-reference", look_up)
