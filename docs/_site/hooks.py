"""The site's pages that lie beside docs/: README, ARCHITECTURE and their like, with links that fit.

Read by the site's builder (``hooks`` of mkdocs.yml); nothing of llmos imports it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ROOT_PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""File at the repository's root -> its page."""

CELL = re.compile(r"<td.*?</td>", re.S)
CODE = re.compile(r"(?<=<code>)[^<]+")
LINK = re.compile(r"(\]\()(?!\w+:|#)([^)#\s]+)")


def inward(markdown: str) -> str:
    """Links of a file at the root, as they are from within docs/."""

    def link(found: re.Match[str]) -> str:
        name, mark, anchor = found[2].partition("#")
        return found[1] + ROOT_PAGES.get(name, name.removeprefix("docs/")) + mark + anchor

    return LINK.sub(link, markdown)


def within(markdown: str) -> str:
    """Links of a page of docs/ to files at the root, as links to their pages."""

    def link(found: re.Match[str]) -> str:
        path, mark, anchor = found[2].partition("#")
        up, _, name = path.rpartition("../")
        page = ROOT_PAGES.get(name) if path.startswith("../") else None
        return found[1] + (f"{up}{page}{mark}{anchor}" if page else found[2])

    return LINK.sub(link, markdown)


def on_files(files: Any, *, config: Any) -> Any:
    """Add the pages that lie elsewhere."""
    # The builder may be ProperDocs or MkDocs: its own class makes the page.
    make = type(next(iter(files))).generated
    for name, page in ROOT_PAGES.items():
        files.append(make(config, page, content=inward((ROOT / name).read_text(encoding="utf-8"))))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Turn links that lead out of docs/."""
    return markdown if page.file.src_uri in ROOT_PAGES.values() else within(markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Wide tables scroll by themselves, long names in them may break behind a dot; only ``$`` is
    a prompt (the lexer takes any words in parentheses at the start of a line for one).
    """
    html = html.replace('<span class="gp gp-VirtualEnv">', '<span class="go">')
    html = CELL.sub(lambda cell: CODE.sub(_breakable, cell[0]), html)
    html = html.replace("<table>", '<div class="wide"><table>')
    return html.replace("</table>", "</table></div>")


def _breakable(code: re.Match[str]) -> str:
    return re.sub(r"([._/])(?=\w)", r"\1<wbr>", code[0])
