"""How the house is built: who may import whom, who may know what, and how long a page may be."""

from __future__ import annotations

import ast
import functools
import re
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
    ("doctor", True),
    ("batch", True),
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
LONG: set[str] = set()  # modules that may be longer than a reader's patience
LONGEST = 300
ROLES = ("worker", "dispatcher", "recruiter")
SPOOL_DIRECTORIES = (
    "jobqueue|workerqueue|workers|jobpods|running|results|requeue|lists|done|failed|rejected"
    "|records|contexts"
)


@functools.cache  # the sources do not change meanwhile
def tree(module: str) -> ast.Module:
    """Return what a module says."""
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


@functools.cache
def nodes(module: str) -> tuple[ast.AST, ...]:
    """Return everything in a module, also what is inside functions."""
    return tuple(ast.walk(tree(module)))


@functools.cache
def imports(module: str, everywhere: bool = True) -> frozenset[str]:
    """Return the modules that a module imports (``everywhere``: also inside functions)."""
    found = set[str]()
    for node in nodes(module) if everywhere else tree(module).body:
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


def test_one_door() -> None:
    """Only one module knows a package of somebody else."""
    users: dict[str, set[str]] = {package: set() for package in DOORS}
    for module in MODULES:
        for package in {name.split(".")[0] for name in imports(module)} & DOORS.keys():
            users[package].add(module)
    assert users == DOORS


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


def test_arrows_point_down() -> None:
    """A module uses only what is below it."""
    wrong = []
    for module in MODULES.keys() - {"fjd"}:
        level, together = LEVEL[part(module)]
        for name in ours(module) - {"fjd"}:
            other = LEVEL[part(name)][0]
            fine = other < level or (other == level and together) or part(name) == part(module)
            wrong += [] if fine else [f"{module} imports {name}"]
    assert wrong == []


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


def test_length() -> None:
    """Nobody has to read more than some hundred lines at once."""
    lengths = {m: len(path.read_bytes().splitlines()) for m, path in MODULES.items()}
    assert {m: n for m, n in lengths.items() if n > LONGEST and m not in LONG} == {}


def public(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Yield the public functions and classes of a module, and the methods of those."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


def test_said_and_annotated() -> None:
    """Every module, and every public class and function, says what it is and what it takes."""
    wrong = [module for module in MODULES if not ast.get_docstring(tree(module))]
    for module in MODULES:
        for node in public(tree(module).body):
            if not ast.get_docstring(node, clean=False):
                wrong.append(f"{module}.{node.name}")
            if isinstance(node, ast.ClassDef):
                continue
            if node.returns is None:
                wrong.append(f"{module}.{node.name} -> ?")
            for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
                if not argument.annotation and argument.arg not in ("self", "cls"):
                    wrong.append(f"{module}.{node.name}: {argument.arg}")
    assert wrong == []


def names_a_spool_directory(node: ast.AST) -> bool:
    """Tell whether a path to a directory of the spool is put together here."""
    if isinstance(node, ast.JoinedStr):
        text = "".join(v.value for v in node.values if isinstance(v, ast.Constant))
        return re.search(f"/({SPOOL_DIRECTORIES})(/|$)", text) is not None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        words = [a.value for a in node.args if isinstance(a, ast.Constant)]
        spool = any(re.fullmatch(SPOOL_DIRECTORIES, str(word)) for word in words)
        return spool and ast.unparse(node.func) == "os.path.join"
    return False


def test_spool_paths() -> None:
    """Nobody but the spool knows what its directories are called."""
    others = [module for module in MODULES if part(module) != "spool"]
    found = [(m, n) for m in others for n in nodes(m) if names_a_spool_directory(n)]
    assert [f"{m}:{n.lineno}" for m, n in found if isinstance(n, ast.expr)] == []


def swallows(node: ast.AST) -> bool:
    """Tell whether everything is caught here and nothing done about it."""
    if not isinstance(node, ast.ExceptHandler):
        return False
    if node.type is None:
        return True
    broad = ast.unparse(node.type) in ("Exception", "BaseException")
    return broad and all(isinstance(line, (ast.Pass, ast.Continue)) for line in node.body)


def test_nothing_is_swallowed() -> None:
    """Whoever catches everything says or does something about it."""
    found = [(m, n) for m in MODULES for n in nodes(m) if swallows(n)]
    assert [f"{m}:{n.lineno}" for m, n in found if isinstance(n, ast.ExceptHandler)] == []


FORBIDDEN = re.compile(
    r"(pickle|cPickle|_pickle)\.(load|loads|Unpickler)|(marshal|shelve|dill|yaml)\..*|eval|exec"
    r"|os\.(system|popen)|subprocess\.(getoutput|getstatusoutput)"
)
# Where a shell runs what the user has typed for it, with no name put into it.
TYPED = ["fjd.api", "fjd.batch.retire"]


def test_nothing_that_was_read_is_run() -> None:
    """No pickle is read, no text is evaluated, and no shell gets a line that was put together."""
    calls = [(m, n) for m in MODULES for n in nodes(m) if isinstance(n, ast.Call)]
    names = [(m, ast.unparse(n.func)) for m, n in calls]
    assert [found for found in names if FORBIDDEN.fullmatch(found[1])] == []
    imports = [
        (m, n) for m in MODULES for n in nodes(m) if isinstance(n, (ast.Import, ast.ImportFrom))
    ]
    assert {m for m, n in imports if "pickle" in ast.unparse(n)} <= {"fjd.batch.store"}  # it writes
    shells = [m for m, n in calls for word in n.keywords if word.arg == "shell"]
    assert sorted(shells) == TYPED
