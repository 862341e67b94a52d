"""The shape of the code, held as data: rooms, imports, sizes, door signs, what is never there.

A room is a first-level package of `sendtide`. Whoever adds an edge adds it to the table on purpose.
"""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "sendtide"
TOP_LEVEL = {
    "pyproject.toml", "README.md", "LICENSE", "docker-compose.yml", "requirements.lock",
    "pipelines", "schemas", "scripts", "src", "tests",
}  # fmt: skip
MAY_IMPORT: dict[str, set[str]] = {
    "events": set(),
    "connectors": {"events"},
    "transport": set(),  # knows nothing of e-mail, so that any Faust user can lift it out
    "gate": {"events"},
    "state": {"events"},
    "models": {"events"},
    "schedule": {"events"},
    "windows": set(),
    "monitoring": set(),
    "recipients": {"events", "state"},
    "clients": {"events", "models", "windows", "monitoring"},
    "sinks": {"events"},
    "endpoint": {"events", "sinks", "models"},  # to say why
    "dashboard": {"events", "sinks", "endpoint", "models"},  # served behind the endpoint's guard
    "pipeline": {"events"},
    "stages": {
        "events", "gate", "state", "recipients", "models", "monitoring", "clients", "sinks",
        "pipeline", "transport",
    },
    "lab": {"events", "models", "monitoring", "recipients", "clients"},  # on a known truth
    "local": {"events"},
    "chaos": {  # stands beside all of it: breaks it, replays it, recounts it
        "events", "lab", "local", "pipeline", "recipients", "models", "sinks", "stages", "state",
        "transport",
    },
}  # fmt: skip
"""`commands` may import all of them, and nobody imports `commands`."""
PURE = {"gate", "recipients", "schedule", "windows", "monitoring", "clients"}
"""Time comes in with the event: no clock, no files, no network, no log, no environment."""
EFFECTS = {
    "asyncio", "confluent_kafka", "faust", "fsspec", "logging", "os", "pathlib", "random", "redis",
    "prometheus_client", "socket", "subprocess", "threading", "time", "urllib",
}  # fmt: skip
BODY_LINES, COMPILED_BODY_LINES, MODULE_LINES = 40, 60, 400
TEST_ROOMS = {"browser", "deployment", "faults", "integration", "oracle"}
"""Folders of tests that are not about one room."""


@cache
def modules() -> dict[Path, ast.Module]:
    """Every module of the package, parsed."""
    return {path: ast.parse(path.read_text()) for path in sorted(SOURCE.rglob("*.py"))}


def room_of(path: Path) -> str:
    """First-level package a module is in; "" for the package itself."""
    parts = path.relative_to(SOURCE).parts
    return parts[0] if len(parts) > 1 else ""


def imported(tree: ast.AST) -> set[str]:
    """Full names of the modules that are imported anywhere in the tree."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def files() -> list[Path]:
    """Every text file git knows."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_imports_run_one_way():
    """No room knows another that is not in its row, and no two know each other."""
    found: dict[str, set[str]] = {room: set() for room in MAY_IMPORT}
    for path, tree in modules().items():
        room = room_of(path)
        if room in found:
            rooms = {n.split(".")[1] for n in imported(tree) if n.startswith("sendtide.")}
            found[room] |= rooms - {room}
    assert found == MAY_IMPORT


def test_the_table_has_no_cycle():
    """Taking away rooms that need nothing of what is left must end with none."""
    left = {room: set(needs) for room, needs in MAY_IMPORT.items()}
    while left:
        free = [room for room, needs in left.items() if not needs & left.keys()]
        assert free, f"a cycle among {sorted(left)}"
        for room in free:
            del left[room]


def test_every_room_is_in_the_table_and_in_the_picture():
    """A new room gets a row here and a line in the package's docstring."""
    rooms = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert rooms == {*MAY_IMPORT, "commands"}
    picture = (SOURCE / "__init__.py").read_text()
    assert all(re.search(rf"^    {room} ", picture, re.MULTILINE) for room in rooms)


def test_inner_rooms_have_no_effects():
    """What decides numbers is a function of events."""
    for path, tree in modules().items():
        if room_of(path) in PURE:
            found = {name.split(".")[0] for name in imported(tree)} & EFFECTS
            assert not found, f"{path.relative_to(ROOT)} imports {found}"


def test_imports_stand_at_the_top():
    """A late import hides an edge."""
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                late = [c for c in ast.walk(node) if isinstance(c, ast.Import | ast.ImportFrom)]
                assert not late, f"{path.relative_to(ROOT)}:{late[0].lineno}"


def test_functions_and_modules_can_be_held_in_the_head():
    """Row loops that numba compiles may be longer: calls between them cost a compile each."""
    for path, tree in modules().items():
        assert len(path.read_text().splitlines()) <= MODULE_LINES, path
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                compiled = any("njit" in ast.unparse(mark) for mark in node.decorator_list)
                first = node.body[1] if ast.get_docstring(node) and node.body[1:] else node.body[0]
                lines = (node.end_lineno or 0) - first.lineno + 1
                limit = COMPILED_BODY_LINES if compiled else BODY_LINES
                assert lines <= limit, f"{path.relative_to(ROOT)}: {node.name} has {lines} lines"


def test_every_module_says_what_it_is():
    """A docstring at every door."""
    missing = [path for path, tree in modules().items() if not ast.get_docstring(tree)]
    assert missing == []


def test_every_module_is_used():
    """Imported by another one, or run by its name."""
    used = set().union(*(imported(tree) for tree in modules().values()))
    texts = "".join(path.read_text() for path in files() if path.suffix in {".toml", "", ".py"})
    for path in modules():
        name = ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
        if path.name in {"__init__.py", "__main__.py"} or room_of(path) == "commands":
            continue
        assert name in used or name in texts or path.name in texts, name


def test_no_pickle_anywhere():
    """Nothing read from a file or a topic may name code to run."""
    for path, tree in modules().items():
        roots = {name.split(".")[0] for name in imported(tree)}
        assert not roots & {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}, path
        assert not re.search(r"allow_pickle\s*=\s*True", path.read_text()), path


def test_the_top_level_is_what_it_should_be():
    """Nothing else but dot files."""
    names = {path.relative_to(ROOT).parts[0] for path in files()}
    assert {name for name in names if not name.startswith(".")} == TOP_LEVEL


REGISTRY = (
    r"https?://(?!127\.|localhost|maven\.apache\.org/POM)[^\s\"']*"
    r"(pypi|pythonhosted|npmjs|maven|proxy\.golang)"
)


@pytest.mark.parametrize(
    "pattern",
    [
        REGISTRY,
        r"--(extra-)?index-url|--find-links",
        r"(?<![\w.])/(home|Users)/(?!sendtide)\w+/",
    ],
)
def test_no_addresses_of_registries_and_no_paths_of_a_machine(pattern):
    """Whoever installs has a registry of their own."""
    for path in files():
        if path == Path(__file__) or not path.exists():
            continue
        found = re.search(pattern, path.read_text(errors="replace"))
        assert not found, f"{path.relative_to(ROOT)}: {found[0]}"


def test_tests_stand_where_their_subject_stands():
    """tests/<room> for every room's folder, and a few that are about the whole."""
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert folders <= {*MAY_IMPORT, "commands"} | TEST_ROOMS
