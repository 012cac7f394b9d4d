"""The product without its source tree: python -m bench.wheel [--python PROGRAM ...] [--jobs N]

Builds wheel and sdist, installs the wheel with its dependencies into a fresh environment of each
Python 3.11-3.13 that this machine has (or of the given ones) and runs ``llmos demo`` there, in
another folder and with an empty environment. Exit code 1 when one of them fails.

JSON: ``pythons`` (that passed), ``failed``, ``wheel_kb``, ``sdist_kb``, and of the first Python
``installed_mb``, ``producer_mb`` (what docs/install.md installs for a producer alone),
``import_ms`` (``from llmos_workers import LLMOS`` there, in a new process, best of five) and
``import_ratio`` (over ``import redis, pydantic``).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.report import finish, table

ROOT = Path(__file__).parents[1]
VERSIONS = ("3.11", "3.12", "3.13")
PRODUCER = re.compile(r"^pip install ((?:redis|pydantic|click)[^\n]*)$", re.M)
IMPORT = "from llmos_workers import LLMOS"
BARE = "import redis, pydantic"


@dataclass(frozen=True)
class Run:
    """What became of one Python; ``fault`` is empty when all went well."""

    version: str
    install_s: float = 0.0
    demo_s: float = 0.0
    fault: str = ""


def sh(*argv: str | Path, cwd: Path, seconds: float = 600.0) -> str:
    """Output of a program in a bare environment. Raises RuntimeError with the end of it all."""
    kept = ("PIP_", "HOME", "SSL_", "REQUESTS_", "HTTP", "http", "NO_PROXY", "no_proxy", "LANG")
    env = {name: value for name, value in os.environ.items() if name.startswith(kept)}
    env["PATH"] = os.defpath
    done = subprocess.run(
        [*map(str, argv)], cwd=cwd, env=env, timeout=seconds, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, argv))}: {(done.stdout + done.stderr)[-2_000:]}")
    return done.stdout


def new_venv(python: str, folder: Path, *install: str | Path) -> Path:
    """A fresh environment with these packages; its Python."""
    sh(python, "-m", "venv", folder, cwd=folder.parent)
    pip(folder / "bin" / "python", *install)
    return folder / "bin" / "python"


def pip(python: Path, *install: str | Path) -> None:
    """Install; without bytecode, which the first import writes."""
    quiet = ("--quiet", "--disable-pip-version-check", "--no-compile")
    sh(python, "-m", "pip", "install", *quiet, *install, cwd=python.parent)


def build(folder: Path) -> tuple[Path, Path]:
    """Wheel and sdist of the tree; the wheel is built from the sdist, as an index's users do."""
    python = new_venv(sys.executable, folder / "build", "hatchling")
    sh(python, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    (sdist,) = folder.glob("*.tar.gz")
    quiet = ("--quiet", "--disable-pip-version-check", "--no-deps")
    sh(python, "-m", "pip", "wheel", *quiet, "-w", folder, sdist, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel, sdist


def pythons() -> dict[str, str]:
    """Version -> program, of the supported ones that run here: on PATH, or kept by pyenv."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = {}
    for version in VERSIONS:
        kept = sorted(root.glob(f"{version}.*/bin/python{version}"))
        for program in [f"python{version}", *map(str, kept)]:
            if version_of(program) == version:
                found[version] = program
                break
    return found


def version_of(program: str) -> str:
    """Such as 3.12; empty when it does not run, or cannot make environments."""
    ask = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([program, "-c", ask], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def try_one(version: str, python: str, wheel: Path, folder: Path) -> Run:
    """Install, look, run the demo."""
    elsewhere = folder / f"elsewhere-{version}"
    elsewhere.mkdir()
    started = time.monotonic()
    try:
        ours = new_venv(python, folder / version, wheel)
        sh(ours, "-m", "pip", "check", "--disable-pip-version-check", cwd=elsewhere)
        installed = time.monotonic()
        llmos = ours.with_name("llmos")
        sh(llmos, "edge", "runner", ".", cwd=elsewhere)
        said = sh(llmos, "demo", "--json", cwd=elsewhere)
        goals = json.loads(said.splitlines()[-1])
    except (RuntimeError, ValueError, OSError, subprocess.TimeoutExpired) as error:
        return Run(version, fault=str(error))
    fault = "" if goals and (elsewhere / "demo-workspace").is_dir() else "the demo ran no goal"
    return Run(version, installed - started, time.monotonic() - installed, fault)


def producer(python: str, wheel: Path, folder: Path) -> tuple[int, float, float]:
    """(megabytes installed, milliseconds of our import, of the bare one) for a producer alone."""
    (needed,) = PRODUCER.findall((ROOT / "docs" / "install.md").read_text())
    ours = new_venv(python, folder / "producer", *needed.split())
    pip(ours, "--no-deps", wheel)
    return megabytes(folder / "producer"), best(ours, IMPORT), best(ours, BARE)


def best(python: Path, code: str) -> float:
    """Milliseconds of the fastest of five processes; an earlier one wrote the bytecode."""
    timed = f"import time; t = time.perf_counter(); {code}; print((time.perf_counter() - t) * 1e3)"
    return min([float(sh(python, "-c", timed, cwd=python.parent)) for _ in range(6)][1:])


def megabytes(venv: Path) -> int:
    """Installed packages without pip and bytecode."""
    files = (path for path in venv.glob("lib/*/site-packages/**/*") if path.is_file())
    sizes = (
        path.stat().st_size
        for path in files
        if path.suffix != ".pyc" and not {"pip", "setuptools"} & set(path.parts)
    )
    return round(sum(sizes) / 1e6)


def main() -> int:
    """Build, try each, report."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--python", action="append", help="this one instead of those found")
    arguments.add_argument("--jobs", type=int, default=2, help="how many at once")
    given = arguments.parse_args()
    asked = {version_of(one): one for one in given.python or ()}
    chosen = asked or pythons() or {version_of(sys.executable): sys.executable}
    with tempfile.TemporaryDirectory(prefix="llmos-wheel-") as name, \
            ThreadPoolExecutor(given.jobs) as pool:  # fmt: skip
        folder = Path(name)
        wheel, sdist = build(folder)
        runs = [
            started.result()
            for started in [
                pool.submit(try_one, version, python, wheel, folder)
                for version, python in chosen.items()
            ]
        ]
        first, python = next(iter(chosen.items()))
        producer_mb, ours_ms, bare_ms = producer(python, wheel, folder)
        sizes = {
            "wheel_kb": wheel.stat().st_size // 1_000,
            "sdist_kb": sdist.stat().st_size // 1_000,
        }
        installed_mb = megabytes(folder / first)
    rows = [
        (run.version, f"{run.install_s:.0f}", f"{run.demo_s:.0f}", run.fault or "ok")
        for run in runs
    ]
    table("The wheel on each Python", ["Python", "install s", "demo s", "result"], rows)
    finish(
        {
            "pythons": [run.version for run in runs if not run.fault],
            "failed": [run.version for run in runs if run.fault],
            **sizes,
            "installed_mb": installed_mb,
            "producer_mb": producer_mb,
            "import_ms": ours_ms,
            "import_ratio": ours_ms / bare_ms,
        }
    )
    return 1 if any(run.fault for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
