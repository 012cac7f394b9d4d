"""What is installed elsewhere is whole: the wheel has every data file and works on its own."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
CODE_OR_DATA = {".py", ".lua", ".toml", ".yaml", ".json", ".txt", ".typed", ".md"}


@pytest.fixture(scope="module")
def sources() -> set[str]:
    """Files of the tree that belong into the wheel, by their names there."""
    ours = {
        path.relative_to(ROOT).as_posix()
        for room in ("llmos_workers", "llmos_cli")
        for path in (ROOT / room).rglob("*")
        if path.suffix in CODE_OR_DATA or path.name == "py.typed"
    }
    return ours | {
        f"llmos_workers/seed/agents/{p.name}" for p in ROOT.glob("workspace/agents/*.md")
    }


@pytest.fixture(scope="module")
def wheel(sources: set[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built as an installer would, after ``sources`` was listed."""
    assert sources
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([*PIP, "wheel", "--no-deps", "-w", folder, ROOT], check=True, timeout=100)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_code_data_and_licences(wheel: Path, sources: set[str]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert sorted(sources - names) == []
    assert len([name for name in names if name.startswith("llmos_workers/seed/agents/")]) == 7
    assert {Path(n).name for n in names if "/licenses/" in n} == {"LICENSE", "NOTICE"}
    assert not [n for n in names if n.startswith(("tests/", "bench/")) or "__pycache__" in n]


@pytest.mark.slow
@pytest.mark.process
def test_the_installed_wheel_runs_the_demo_without_the_source_tree(
    wheel: Path, tmp_path: Path
) -> None:
    """Dependencies come from here; llmos itself from the wheel alone."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = venv / "bin" / "python"
    subprocess.run([*PIP, "--python", python, "install", "--no-deps", wheel], check=True)
    (packages,) = venv.glob("lib/python*/site-packages")
    # A path file inside a folder that is added by a path file does not count: no editable llmos.
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    where = [python, "-c", "import llmos_workers; print(llmos_workers.__file__)"]
    found = subprocess.check_output(where, cwd=tmp_path, env=env, text=True)
    assert found.startswith(str(packages))
    demo = subprocess.run(
        [venv / "bin" / "llmos", "demo", "--folder", tmp_path / "demo"],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert demo.returncode == 0, demo.stdout[-3_000:] + demo.stderr[-3_000:]
