"""A real browser for pages that people look at: headless Chromium, one start per look."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import lxml.html
import pytest

T = TypeVar("T")
NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
START_SECS = 90
"""A busy machine starts it slowly; a look that takes longer is not one."""


def chromium() -> str:
    """The program. Without one a test is skipped, and fails where CI is to have brought it."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        words = "no Chromium on this machine (Debian: apt-get install chromium)"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    return found


def look(url: str, *options: str, folder: Path) -> str:
    """The page at ``url`` as it stands when its own requests are answered, as HTML.

    ``options``: more of Chromium's, e.g. ``--window-size=400,800``; ``folder``: where it may keep
    its profile, a new one each time.
    """
    profile = tempfile.mkdtemp(prefix="chromium-", dir=folder)
    # Virtual time stands still while a request is under way: the page waits for its answers,
    # and the look does not wait for the clock.
    command = [chromium(), *OPTIONS, f"--user-data-dir={profile}", "--virtual-time-budget=2000"]
    shown = subprocess.run(
        [*command, *options, "--dump-dom", url],
        capture_output=True, text=True, timeout=START_SECS, check=False,
        env=os.environ | {"HOME": profile},
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr[-2000:]
    return shown.stdout


def look_for(
    found: Callable[[str], T], url: str, *options: str, folder: Path, timeout: float = 90.0
) -> tuple[str, T]:
    """Looks again until ``found`` finds something true on the page: (page, what it found).

    A busy machine may be too slow for the page's own requests.
    """
    deadline = time.monotonic() + timeout
    while not (there := found(page := look(url, *options, folder=folder))):
        assert time.monotonic() < deadline, f"it is not on the page: {page[:2000]}"
    return page, there


def rows(page: str) -> list[list[str]]:
    """The words of each cell of each row of data, of all tables."""
    found = lxml.html.fromstring(page).xpath("//tr[td]")
    return [[" ".join(cell.text_content().split()) for cell in row.xpath("./td")] for row in found]
