"""The site holds together: pages, links, commands, and what is made from the code. `make docs`
builds it strictly; this says most of it without the builder.
"""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from runpy import run_path
from typing import Any

import click
import pytest
import yaml

from llmos_cli.main import cli
from tests.support.console import blocks_of

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
AT_ROOT = {
    page: name for name, page in run_path(str(DOCS / "_site" / "hooks.py"))["ROOT_PAGES"].items()
}
"""Pages of the site that are files beside docs/."""

PAGES = sorted(path for path in DOCS.rglob("*.md") if "_site" not in path.parts)
FILES = [*PAGES, *(ROOT / name for name in AT_ROOT.values())]
LINK = re.compile(r"\]\((?!\w+:)([^)\s]+)\)")
PROSE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.M | re.S)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def named(nav: Any) -> list[str]:
    """The pages that the navigation names."""
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [page for part in parts for page in named(part)]


def anchors(path: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub and the builder both make them."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    heads = re.findall(r"^#+ (.+)$", text, re.M)
    plain = (re.sub(r"\]\([^)]*\)|[`\[\]]", "", head).lower() for head in heads)
    return {re.sub(r"[^\w\- ]", "", head).strip().replace(" ", "-") for head in plain}


def test_each_page_is_in_the_navigation_once() -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    there = {path.relative_to(DOCS).as_posix() for path in PAGES} | set(AT_ROOT)
    assert sorted(named(config["nav"])) == sorted(there)


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_each_link_leads_to_a_page_and_a_heading(path: Path) -> None:
    wrong = []
    for link in LINK.findall(PROSE.sub("", path.read_text(encoding="utf-8"))):
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.is_file() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    assert wrong == []


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_each_command_that_a_page_shows_is_one(path: Path) -> None:
    for line in commands_of(path.read_text(encoding="utf-8")):
        words = line[1:]
        command: click.Command = cli
        while isinstance(command, click.Group):
            context = click.Context(command, info_name="llmos")
            _, rest, _ = command.make_parser(context).parse_args(words)
            found = command.get_command(context, rest[0]) if rest else None
            assert found is not None, f"no such command: {line}"
            command, words = found, rest[1:]
        command.make_parser(click.Context(command)).parse_args(words)  # raises NoSuchOption


@pytest.mark.parametrize("path", [p for p in FILES if p.name != "python.md"], ids=relative)
def test_python_that_a_page_shows_is_python_and_its_imports_are_there(path: Path) -> None:
    blocks = blocks_of(path.read_text(encoding="utf-8"))
    trees = [ast.parse(block.text) for block in blocks if block.language == "python"]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    for node in nodes:
        if node.module and node.module.startswith("llmos_"):
            module = import_module(node.module)
            assert [name.name for name in node.names if not hasattr(module, name.name)] == []


def commands_of(text: str) -> list[list[str]]:
    """Words of the calls of llmos in a page's blocks: up to a pipe, a comment or what it does."""
    lines = (line for block in blocks_of(text) for line in block.text.splitlines())
    calls = (re.sub(r"^(?:\$ )?(?:\w+=\$\()?", "", line) for line in lines)
    return [words_of(line) for line in calls if re.match(r"llmos [a-z-]", line)]


def words_of(line: str) -> list[str]:
    """Words of a shell command, as far as it goes; two blanks end it in a list of commands."""
    found = shlex.shlex(re.split(r" {2,}", line)[0], posix=True, punctuation_chars=True)
    found.whitespace_split = True
    return list(takewhile(lambda word: not set(word) <= set("();<>|&"), found))


def test_commands_are_found_and_wrong_ones_noticed() -> None:
    page = (
        "```sh\nllmos list --limit 2 | head\n$ X=$(llmos submit 'a; b')\nllmos up    runs all\n```"
    )
    assert commands_of(page) == [
        ["llmos", "list", "--limit", "2"], ["llmos", "submit", "a; b"], ["llmos", "up"]
    ]  # fmt: skip
    with pytest.raises(click.NoSuchOption):
        cli.make_parser(click.Context(cli)).parse_args(["--nowhere"])


def test_what_is_made_from_the_code_is_current() -> None:
    made = subprocess.run(
        [sys.executable, DOCS / "_site" / "reference.py", "--check"],
        cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (made.returncode, made.stdout) == (0, ""), (
        f"run: python docs/_site/reference.py\n{made.stderr}"
    )


def test_the_site_loads_nothing_from_elsewhere() -> None:
    theme = [path for path in (DOCS / "_site" / "theme").rglob("*") if path.is_file()]
    asked = [
        address
        for path in theme
        for address in re.findall(r"(?:src|href|url|import)[=(\s]+[\"']?(\w+://[^\s\"']+)",
                                  path.read_text(encoding="utf-8"))
    ]  # fmt: skip
    assert theme
    assert asked == []
