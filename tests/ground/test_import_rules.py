"""The cut in three rings, and what importing costs: an inner ring never imports an outer one."""

import ast
import json
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "clinicrefund"
ADAPTERS = sorted(path.stem for path in (PACKAGE / "adapters").glob("[a-z]*.py"))

CORE = ("money", "model", "triggers", "policy", "outcomes", "orders", "case")
CORE_LIBRARIES = {"attr", "attrs", "clinicrefund", "typing_extensions"} | sys.stdlib_module_names
OUTER_RINGS = {
    *(
        "adapters",
        "blocking",
        "clinic",
        "clock",
        "demo",
        "engines",
        "http",
        "journals",
        "messages",
        "orchestrator",
        "practice",
    ),
    *("ports", "sending", "shell", "testing", "web"),
}

# How a value shows itself to a person is no part of what it is: these may ask an outer ring, when they are called.
SHOWING = {"__str__", "_repr_html_"}

HTTP_STACK = {"aiohttp", "h11", "httpcore", "httpx", "httpx_aiohttp"}
HEAVY = HTTP_STACK | {"babel", "cattrs", "jinja2", "jwt", "cryptography"}


def _modules(name: str) -> list[Path]:
    """The files of a module or package of ours, by its name below ``clinicrefund``."""
    path = PACKAGE / name
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def _imports(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, wherever it stands in the file."""
    yield from _named_in(ast.parse(path.read_text()), path)


def _named_in(node: ast.AST, path: Path) -> Iterator[str]:
    match node:
        case ast.FunctionDef(name=name) if name in SHOWING:
            return
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=str(module), level=0, names=names):
            yield module
            yield from (f"{module}.{alias.name}" for alias in names)
        case ast.ImportFrom():
            pytest.fail(f"{path} has a relative import, which this test cannot follow: write it absolute")
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _named_in(child, path)


def _loaded_by(module: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after importing one."""
    program = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout))


EACH_ALONE = """\
import importlib, json, os, sys
import clinicrefund
loaded = {}
for name in sys.argv[1:]:
    reader, writer = os.pipe()
    if os.fork() == 0:
        importlib.import_module(name)
        os.write(writer, json.dumps(sorted(sys.modules)).encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as told:
        loaded[name] = json.load(told)
    os.wait()
print(json.dumps(loaded))
"""


@cache
def _loaded_by_each() -> Mapping[str, Collection[str]]:
    """As `_loaded_by`, for every adapter in a copy of one interpreter that has imported the package alone."""
    names = [f"clinicrefund.adapters.{name}" for name in ADAPTERS]
    done = subprocess.run(
        [sys.executable, "-c", EACH_ALONE, *names], check=True, capture_output=True, text=True
    )
    return {name: set(modules) for name, modules in json.loads(done.stdout).items()}


def test_the_core_imports_only_the_standard_library_attrs_typing_extensions_and_itself() -> None:
    """What the core needs belongs to it: the rule follows its imports as far as they lead."""
    left, seen = set(CORE), set[str]()
    while left:
        name = left.pop()
        seen.add(name)
        assert name not in OUTER_RINGS, f"the core imports clinicrefund.{name}, an outer ring"
        for path in _modules(name):
            for module in _imports(path):
                assert module.split(".")[0] in CORE_LIBRARIES, f"{path} imports {module}"
                inner = module.removeprefix("clinicrefund.").split(".")[0]
                if module.startswith("clinicrefund.") and inner not in seen and _modules(inner)[0].exists():
                    left.add(inner)


def test_adapters_never_import_the_http_stack() -> None:
    for path in _modules("adapters"):
        assert not {module.split(".")[0] for module in _imports(path)} & HTTP_STACK, path


def test_only_the_session_and_the_testing_kit_import_httpx() -> None:
    """One module sends: nothing else can, if nothing else has the library for it."""
    for path in PACKAGE.rglob("*.py"):
        inside = path.relative_to(PACKAGE).parts[0]
        if inside not in {"http", "testing"}:
            assert not {module.split(".")[0] for module in _imports(path)} & HTTP_STACK, path


@pytest.mark.parametrize("name", ADAPTERS)
def test_importing_an_adapter_imports_no_other_adapter_and_nothing_heavy(name: str) -> None:
    """A vendor that is too much for one file has siblings with the same stem."""
    vendor = min((one for one in ADAPTERS if f"{name}_".startswith(f"{one}_")), key=len)
    loaded = _loaded_by_each()[f"clinicrefund.adapters.{name}"]
    adapters = {module.split(".")[2] for module in loaded if module.startswith("clinicrefund.adapters.")}
    assert name in adapters
    assert {one for one in adapters if not f"{one}_".startswith(f"{vendor}_")} == set()
    assert HEAVY.isdisjoint(loaded)


def test_importing_the_package_loads_no_adapter_and_nothing_heavy() -> None:
    loaded = _loaded_by("clinicrefund")
    assert not loaded & HEAVY
    assert not [module for module in loaded if module.startswith("clinicrefund.adapters.")]
    assert not [module for module in loaded if module.startswith("clinicrefund.testing")]
