"""The site's pages that lie beside docs/: README, ARCHITECTURE and their like, with links that fit.

Read by the site's builder (``hooks`` of mkdocs.yml); nothing of llmos imports it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(ROOT.glob("examples/*/README.md"))
ROOT_PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "examples/README.md": "examples/index.md",
    **{path.relative_to(ROOT).as_posix(): f"examples/{path.parent.name}.md" for path in EXAMPLES},
}
"""File of the repository -> its page."""

CELL = re.compile(r"<td.*?</td>", re.S)
CODE = re.compile(r"(?<=<code>)[^<]+")
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def in_site(markdown: str, *, file: str, page: str) -> str:
    """The text of a file of the repository with links as its page needs them. What is no page
    stands there as a name.
    """

    def link(found: re.Match[str]) -> str:
        picture, text, path, anchor = found.groups()
        target = posixpath.normpath(posixpath.join(posixpath.dirname(file), path))
        there = ROOT_PAGES.get(target, target.removeprefix("docs/"))
        if target not in ROOT_PAGES and not target.startswith("docs/"):
            return text if text.startswith("`") else f"`{text}`"
        way = posixpath.relpath(there, posixpath.dirname(page) or ".")
        return f"{picture}[{text}]({way}{anchor or ''})"

    return LINK.sub(link, markdown)


def on_files(files: Any, *, config: Any) -> Any:
    """Add the pages that lie elsewhere."""
    # The builder may be ProperDocs or MkDocs: its own class makes the page.
    make = type(next(iter(files))).generated
    for name, page in ROOT_PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(make(config, page, content=in_site(text, file=name, page=page)))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Turn links that lead out of docs/."""
    uri = page.file.src_uri
    done = uri in ROOT_PAGES.values()
    return markdown if done else in_site(markdown, file=f"docs/{uri}", page=uri)


def on_page_content(html: str, **_: Any) -> str:
    """Wide tables scroll by themselves; only ``$`` is a prompt (the lexer takes any words in
    parentheses at the start of a line for one); a bar in the code of a cell needs no backslash.
    """
    html = html.replace('<span class="gp gp-VirtualEnv">', '<span class="go">')
    html = CELL.sub(lambda cell: cell[0].replace("\\|", "|"), html)
    html = html.replace("<table>", '<div class="wide"><table>')
    return html.replace("</table>", "</table></div>")


def on_post_page(output: str, **_: Any) -> str:
    """Long names in tables may break behind a dot; after the index for searching was made."""
    return CELL.sub(lambda cell: CODE.sub(_breakable, cell[0]), output)


def _breakable(code: re.Match[str]) -> str:
    return re.sub(r"([._/])(?=\w)", r"\1<wbr>", code[0])
