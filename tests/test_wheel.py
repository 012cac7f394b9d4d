"""The wheel alone is the product: from a folder elsewhere, with no source tree in sight."""

from __future__ import annotations

import os
import re
import site
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import distribution, packages_distributions, requires
from pathlib import Path

import pytest

from bench import wheel as bench

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.timeout(400)]
NEEDED = {"redis", "pydantic", "click"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Wheel and sdist; the wheel is built from the sdist."""
    return bench.build(tmp_path_factory.mktemp("dist"))


def install(wheel: Path, folder: Path, others: list[str]) -> Path:
    """The bin folder of a fresh environment: llmos from the wheel, the rest from ``others``."""
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    python = venv / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", "--no-deps", wheel], check=True)
    (packages,) = venv.glob("lib/python*/site-packages")
    # A path file inside a folder that is added by a path file does not count: no editable llmos.
    (packages / "dependencies.pth").write_text("\n".join(others))
    where = ask(python, "-c", "import llmos_workers; print(llmos_workers.__file__)", cwd=folder)
    assert where.startswith(str(packages))
    return python.parent


def ask(*argv: str | Path, cwd: Path, **env: str) -> str:
    """Output of a program that knows nothing of this process's environment."""
    bare = {"PATH": os.environ["PATH"], "HOME": str(cwd), **env}
    done = subprocess.run(
        argv, cwd=cwd, env=bare, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    return done.stdout


def test_the_demo_runs_from_the_wheel(built: tuple[Path, Path], tmp_path: Path) -> None:
    """Dependencies come from here; llmos itself from the wheel alone."""
    bin_folder = install(built[0], tmp_path, site.getsitepackages())
    ask(bin_folder / "llmos", "demo", "--folder", tmp_path / "demo", cwd=tmp_path)
    ask(bin_folder / "llmos", "edge", "runner", ".", cwd=tmp_path)
    assert "usage" in ask(sys.executable, "-I", "run_follower.py", "--help", cwd=tmp_path)


def test_a_producer_needs_three_packages(
    built: tuple[Path, Path], tmp_path: Path, redis_server: str
) -> None:
    page = (bench.ROOT / "docs" / "install.md").read_text()
    assert {*bench.PRODUCER.findall(page)[0].split()} == NEEDED
    lean = tmp_path / "lean"
    lean.mkdir()
    for module in modules_of(with_dependencies(NEEDED)):
        (found,) = [p for p in Path(site.getsitepackages()[0]).glob(f"{module}*")
                    if p.name in (module, f"{module}.py")]  # fmt: skip
        (lean / found.name).symlink_to(found)
    bin_folder = install(built[0], tmp_path, [str(lean)])
    goal = ask(
        bin_folder / "llmos", "submit", "--no-wait", "Write a haiku", cwd=tmp_path,
        LLMOS_REDIS_URL=redis_server,
    )  # fmt: skip
    assert goal.strip() in ask(bin_folder / "llmos", "list", cwd=tmp_path,
                               LLMOS_REDIS_URL=redis_server)  # fmt: skip
    missing = subprocess.run(
        [bin_folder / "llmos", "up"], cwd=tmp_path, env={"HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert missing.returncode == 6
    assert "which is not installed" in missing.stderr


def with_dependencies(names: set[str]) -> set[str]:
    """These distributions and what they need here, without extras."""
    found: set[str] = set()
    ahead = {*names}
    while ahead:
        name = ahead.pop()
        try:
            distribution(name)
        except ModuleNotFoundError:
            continue  # needed elsewhere only, by its marker
        found.add(name)
        plain = [one for one in requires(name) or [] if "extra ==" not in one]
        ahead |= {re.match(r"[\w.-]+", one)[0] for one in plain} - found  # type: ignore[index]
    return found


def modules_of(names: set[str]) -> set[str]:
    """Top-level modules of distributions."""
    alike = {name.lower().replace("_", "-") for name in names}
    return {
        module
        for module, owners in packages_distributions().items()
        if module[0] != "_" and alike & {one.lower().replace("_", "-") for one in owners}
    }


def test_the_sdist_can_be_worked_with(built: tuple[Path, Path]) -> None:
    """Tests, documents and deployment files are in it; the wheel it makes has all of the code."""
    with tarfile.open(built[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = ("Makefile", "tests/conftest.py", "bench/wheel.py", "docs/install.md", "README.md",
              "deploy/Dockerfile", "compose.yaml", "examples/README.md")  # fmt: skip
    assert [name for name in wanted if name not in names] == []
    assert [name for name in names if "__pycache__" in name or name.startswith(".venv")] == []
    with zipfile.ZipFile(built[0]) as archive:
        inside = set(archive.namelist())
    code = {name for name in names if name.startswith(("llmos_", "edge_runtime/"))}
    assert sorted(name for name in code - inside if "." in Path(name).name) == []
