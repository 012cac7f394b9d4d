"""The rooms of the house: imports run downward only, and heavy ones stay out of thin rooms."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "llmos_workers"

LEVEL = {
    "contracts": 0,
    "config": 1,
    "kernel": 2,
    "sentience": 3,
    "execution": 3,
    "learning": 4,
    "evolution": 4,
    "runtime": 5,
    "flow": 6,
    "tasks": 7,
}
"""Who may import whom: only rooms of the same or a lower level, and never a sibling room."""

SIDE_ROOMS = {"embedded", "monitor", "rehearsal", "testing", "app", "client", "worker", "compat"}
HEAVY = {"anthropic", "qdrant_client", "qdrant_edge", "numpy", "onnxruntime", "tokenizers", "rich"}
THIN = {"contracts", "config", "kernel", "client"}


def room_of(path: Path) -> str:
    name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return name.split("_")[0]


def runtime_imports(tree: ast.Module) -> set[str]:
    """Modules imported when the file is imported (not in functions, not for types only)."""
    found: set[str] = set()
    pending = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.dump(node.test):
            pending += [*node.body, *node.orelse]
        elif isinstance(node, ast.Try):
            pending += [*node.body, *(s for h in node.handlers for s in h.body)]
        elif isinstance(node, ast.ClassDef):
            pending += node.body
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_downward_only(path):
    room = room_of(path)
    for module in runtime_imports(ast.parse(path.read_text())):
        top, _, rest = module.partition(".")
        assert top != "llmos_cli", f"{path}: nothing imports the command line"
        if top != "llmos_workers" or not rest or room not in LEVEL:
            continue
        other = rest.split(".")[0].split("_")[0]
        if other == room:
            continue
        assert other in LEVEL, f"{path} ({room}) imports the side room {other}"
        assert LEVEL[other] < LEVEL[room], f"{path} ({room}) imports upward: {module}"


@pytest.mark.parametrize(
    "path", [p for p in FILES if room_of(p) in THIN], ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_thin_rooms_import_nothing_heavy(path):
    imported = {module.split(".")[0] for module in runtime_imports(ast.parse(path.read_text()))}
    assert not imported & HEAVY


def test_every_room_is_known():
    rooms = {
        room_of(path) for path in FILES if path.name != "__init__.py" or path.parent != PACKAGE
    }
    assert rooms <= set(LEVEL) | SIDE_ROOMS
