"""From the bytes of a page to text a model can read."""

from __future__ import annotations

import codecs
import logging
import re
from dataclasses import dataclass

from llmos_workers.contracts.errors import ToolError

_TEXTUAL = re.compile(
    r"text/[\w.+-]+|application/(json|xml|javascript|ecmascript|yaml|x-yaml|toml|sql|x-ndjson"
    r"|rtf|graphql|[\w.-]+\+(json|xml|yaml))|image/svg\+xml"
)
_HTML = frozenset({"text/html", "application/xhtml+xml"})
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([\w-]{2,30})", re.IGNORECASE)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff"
    "\U000e0000-\U000e007f]"
)
"""Control, zero-width, direction and tag characters: nothing a reader sees."""


@dataclass(frozen=True)
class PageText:
    """What a page says."""

    title: str
    text: str


def page_text(body: bytes, content_type: str, *, source: bool = False) -> PageText:
    """The text of a page; ``source``: as it was sent, without taking HTML apart.

    Raises ToolError for what is no text.
    """
    kind, _, parameters = content_type.partition(";")
    kind = kind.strip().lower()
    if kind and not _TEXTUAL.fullmatch(kind):
        raise ToolError(f"the page is of type {_plain(kind)[:60]}, which is no text.")
    if b"\0" in body[:4_096] and not body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ToolError("the page is no text.")
    text = _decoded(body, parameters)
    html = kind in _HTML or (
        not kind and text.lstrip()[:15].lower().startswith(("<!doctype", "<html"))
    )
    if source or not html:
        return PageText("", _plain(text))
    title, main = _from_html(text)
    return PageText(_plain(" ".join(title.split()))[:300], _plain(main))


def _from_html(html: str) -> tuple[str, str]:
    """Title and text of an HTML page: the main part as Markdown, else all of it."""
    # trafilatura tells every oddity of a page as a warning; none is ours.
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    import trafilatura

    try:
        main = trafilatura.extract(
            html,
            output_format="markdown",
            include_links=True,
            include_tables=True,
            include_comments=False,
            favor_recall=True,
        )
        text = main or trafilatura.html2txt(html)
        facts = trafilatura.extract_metadata(html)
    # A page may be built to break whoever reads it; that ends the call and nothing else.
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError, MemoryError):
        raise ToolError("the page's HTML could not be read.", fix="Ask for its source.") from None
    return (facts.title if facts is not None and facts.title else ""), text or ""


def _decoded(body: bytes, parameters: str) -> str:
    for bom, name in _BOMS:
        if body.startswith(bom):
            return body.decode(name, "replace")
    said = re.search(r"charset\s*=\s*[\"']?([\w.:-]{2,40})", parameters, re.IGNORECASE)
    meta = _META_CHARSET.search(body[:2_048])
    names = [said[1]] if said else []
    names += [meta[1].decode()] if meta else []
    for name in names:
        try:
            return body.decode(name, "replace")
        except (LookupError, UnicodeError):
            continue  # no such encoding, or none of text
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body.decode("cp1252", "replace")


def _plain(text: str) -> str:
    """Without characters that nobody sees, and with one kind of line end."""
    return _UNSEEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).strip()
