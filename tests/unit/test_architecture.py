"""How the house is built: who may import whom, who may know what, and how long a page may be."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fjd

ROOT = Path(fjd.__file__).parent
MODULES = {
    ".".join(("fjd", *path.relative_to(ROOT).with_suffix("").parts)).replace(".__init__", ""): path
    for path in sorted(ROOT.rglob("*.py"))
}

# From the ground to the roof; who stands on one line may use all that is below it, and what its
# own line allows (True: each other).
LAYERS: list[tuple[str, bool]] = [
    ("errors", False),
    ("talk", False),
    ("system", True),
    ("spool", True),
    ("launchers", True),
    ("worker", True),
    ("dispatcher", True),
    ("recruiter", True),
    ("views", True),
    ("api", False),
    ("scripts", True),
]
LEVEL = {
    name: (number, together)
    for number, (names, together) in enumerate(LAYERS)
    for name in names.split()
}
DOORS = {
    "configobj": {"fjd.system.inifile"},
    "watchdog": {"fjd.system.watch"},
    "psutil": {"fjd.system.processes"},
    "fabric": {"fjd.launchers.ssh"},
    "paramiko": {"fjd.launchers.ssh"},
    "invoke": {"fjd.launchers.ssh"},  # a part of fabric
}
LONG = {"fjd.spool.jobfile", "fjd.worker.worker"}  # they may be longer than a reader's patience
LONGEST = 300
ROLES = ("worker", "dispatcher", "recruiter")
SPOOL_DIRECTORIES = (
    "jobqueue|workerqueue|workers|jobpods|running|results|requeue|lists|done|failed|rejected"
    "|records"
)


@functools.cache  # the sources do not change meanwhile
def tree(module: str) -> ast.Module:
    """Return what a module says."""
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


@functools.cache  # the sources do not change meanwhile
def imports(module: str, everywhere: bool = True) -> frozenset[str]:
    """Return the modules that a module imports (``everywhere``: also inside functions)."""
    top, found = tree(module), set[str]()
    for node in ast.walk(top) if everywhere else top.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in MODULES else node.module for name in names}
    return frozenset(found)


def ours(module: str, everywhere: bool = True) -> set[str]:
    """Return the modules of ours that a module imports."""
    return {name for name in imports(module, everywhere) if name in MODULES} - {module}


def part(module: str) -> str:
    """Return the part of the house that a module belongs to ("" for the package itself)."""
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("package", DOORS)
def test_one_door(package: str) -> None:
    """Only one module knows a package of somebody else."""
    users = {m for m in MODULES if any(name.split(".")[0] == package for name in imports(m))}
    assert users == DOORS[package]


def test_no_other_packages() -> None:
    """Nothing else is needed than what is documented."""
    known = {*DOORS, "fjd"}
    if sys.version_info >= (3, 10):
        known |= sys.stdlib_module_names
        for module in MODULES:
            assert {name.split(".")[0] for name in imports(module)} <= known, module


def test_everybody_has_a_place() -> None:
    """Each part stands in the order above, and nothing stands there that is not."""
    assert {part(module) for module in MODULES} - {""} == LEVEL.keys()


@pytest.mark.parametrize("module", [m for m in MODULES if m != "fjd"])
def test_arrows_point_down(module: str) -> None:
    """A module uses only what is below it."""
    level, together = LEVEL[part(module)]
    for name in ours(module) - {"fjd"}:
        other = LEVEL[part(name)][0]
        fine = other < level or (other == level and together) or part(name) == part(module)
        assert fine, f"{module} imports {name}"


def test_no_cycles() -> None:
    """No module needs itself in order to be loaded."""
    graph = {module: ours(module, everywhere=False) for module in MODULES}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in done:
            for name in graph[module]:
                visit(name, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("role", ROLES)
def test_roles_meet_in_the_spool_only(role: str) -> None:
    """No role reaches another one, however many modules are between them."""
    reached, new = set(), {f"fjd.{role}"}
    while new:
        reached |= new
        new = {name for module in new for name in ours(module)} - reached
    assert not {f"fjd.{other}" for other in ROLES if other != role} & reached


@pytest.mark.parametrize("module", MODULES)
def test_length(module: str) -> None:
    """Nobody has to read more than some hundred lines at once."""
    length = len(MODULES[module].read_text(encoding="utf-8").splitlines())
    assert length <= LONGEST or module in LONG


def public(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Yield the public functions and classes of a module, and the methods of those."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


@pytest.mark.parametrize("module", MODULES)
def test_said_and_annotated(module: str) -> None:
    """Every module, and every public class and function, says what it is and what it takes."""
    top = tree(module)
    assert ast.get_docstring(top)
    for node in public(top.body):
        assert ast.get_docstring(node), f"{module}.{node.name}"
        if isinstance(node, ast.ClassDef):
            continue
        assert node.returns is not None, f"{module}.{node.name}"
        for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
            known = argument.annotation or argument.arg in ("self", "cls")
            assert known, f"{module}.{node.name}: {argument.arg}"


@pytest.mark.parametrize("module", [m for m in MODULES if part(m) != "spool"])
def test_spool_paths(module: str) -> None:
    """Nobody but the spool knows what its directories are called."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.JoinedStr):
            text = "".join(v.value for v in node.values if isinstance(v, ast.Constant))
            assert not re.search(f"/({SPOOL_DIRECTORIES})(/|$)", text), f"{module}:{node.lineno}"
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "os.path.join":
            words = [a.value for a in node.args if isinstance(a, ast.Constant)]
            assert not any(re.fullmatch(SPOOL_DIRECTORIES, str(word)) for word in words)


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_swallowed(module: str) -> None:
    """Whoever catches everything says or does something about it."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{module}:{node.lineno}"
            broad = ast.unparse(node.type) in ("Exception", "BaseException")
            idle = all(isinstance(line, (ast.Pass, ast.Continue)) for line in node.body)
            assert not (broad and idle), f"{module}:{node.lineno}"


HEAVY = "fabric paramiko psutil watchdog argparse asyncio"


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("fjd.scripts.fjd_worker", HEAVY),
        ("fjd.scripts.fjd", f"{HEAVY} json re configobj subprocess"),
        ("fjd.scripts.fjd_dispatcher", "fabric paramiko psutil asyncio"),
        ("fjd.scripts.fjd_recruiter", "fabric paramiko watchdog asyncio"),
    ],
)
def test_quick_start(module: str, unwanted: str) -> None:
    """A command loads only what it needs: tens of workers start at once on a network home."""
    code = f"""
import sys
sys.path[:] = {sys.path!r}
import {module}
print(*set({unwanted.split()!r}) & sys.modules.keys())
"""
    words = [sys.executable, "-S", "-c", code]
    found = subprocess.run(words, capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
