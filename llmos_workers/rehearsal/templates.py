"""Templates of the scripts: sandboxed Jinja2 with filters for the data the scripts read."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.sandbox import SandboxedEnvironment


def csv_rows(text: str) -> list[dict[str, str]]:
    """Rows of a CSV text with a header line."""
    dialect_comma = text.split("\n", 1)[0]
    delimiter = ";" if dialect_comma.count(";") > dialect_comma.count(",") else ","
    return [dict(row) for row in csv.DictReader(io.StringIO(text), delimiter=delimiter)]


def csv_text(rows: Iterable[dict[str, Any]]) -> str:
    """A CSV text with a header: all keys in order of first appearance."""
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: v if isinstance(v, str) else json.dumps(v) for k, v in row.items()})
    return out.getvalue()


def numeric_columns(rows: list[dict[str, str]]) -> list[str]:
    """Names of the columns whose every value is a number."""
    return [n for n in (rows[0] if rows else ()) if all(number(r[n]) is not None for r in rows)]


def number(value: object) -> Decimal | None:
    """A value as an exact number, None when it is none."""
    try:
        found = Decimal(str(value).replace(",", "").strip())
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def total(rows: list[dict[str, str]], column: str) -> Decimal:
    """Exact sum of a column."""
    return sum((number(row[column]) or Decimal(0) for row in rows), Decimal(0))


def average(rows: list[dict[str, str]], column: str) -> str:
    """Mean of a column with two decimals."""
    return f"{total(rows, column) / len(rows):.2f}" if rows else "0.00"


def smallest(rows: list[dict[str, str]], column: str) -> Decimal:
    """Smallest number of a column."""
    return min(number(row[column]) or Decimal(0) for row in rows)


def largest(rows: list[dict[str, str]], column: str) -> Decimal:
    """Largest number of a column."""
    return max(number(row[column]) or Decimal(0) for row in rows)


def paragraphs(text: str) -> list[str]:
    """Paragraphs of prose, each on one line; headings and rules are left out."""
    parts = (" ".join(part.split()) for part in re.split(r"\n\s*\n", text))
    return [part for part in parts if re.search(r"\w", part) and not part.startswith("#")]


def first_sentence(text: str) -> str:
    """Up to the first full stop, question or exclamation mark."""
    return re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0]


def functions(source: str) -> list[str]:
    """Names of the public top-level functions of a Python text."""
    return re.findall(r"^def ([a-z]\w*)\(", source, re.MULTILINE)


def typed(rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Rows with whole numbers as int; everything else stays text."""
    return [
        {k: int(v) if re.fullmatch(r"-?(0|[1-9]\d{0,15})", v or "") else v for k, v in row.items()}
        for row in rows
    ]


def pretty(value: object) -> str:
    """JSON for people: two spaces, no escapes."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def emails(text: str) -> list[str]:
    """E-mail addresses, each once, in order."""
    return list(dict.fromkeys(re.findall(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", text)))


def slug(text: str) -> str:
    """Lower-case words joined by underscores, fit for a file name."""
    return "_".join(re.findall(r"[a-z0-9]+", text.lower())) or "note"


FILTERS = {
    "csv_rows": csv_rows,
    "csv_text": csv_text,
    "numeric_columns": numeric_columns,
    "total": total,
    "average": average,
    "smallest": smallest,
    "largest": largest,
    "paragraphs": paragraphs,
    "first_sentence": first_sentence,
    "functions": functions,
    "typed": typed,
    "pretty": pretty,
    "json_value": json.loads,
    "emails": emails,
    "slug": slug,
    "stem": lambda path: path.rpartition("/")[2].rpartition(".")[0],
    "folder": lambda path: path.rpartition("/")[0] + "/" if "/" in path else "",
    "ext": lambda path: path.rpartition(".")[2].lower(),
    "py": lambda value: repr(str(value)),
    "js": json.dumps,
    "sh": shlex.quote,
    "words": lambda text: len(text.split()),
    "lines": str.splitlines,
}


class TemplateFailure(Exception):
    """A template cannot be rendered over the values it was given."""


class Renderer:
    """Renders templates in a sandbox; unknown names are errors. Compiled ones are kept."""

    def __init__(self) -> None:
        self._env: SandboxedEnvironment | None = None
        self._compile = lru_cache(maxsize=1024)(self._compiled)

    def render(self, template: str, context: dict[str, Any]) -> str:
        """Raises TemplateFailure, or what a filter raises for wrong data."""
        from jinja2 import TemplateError

        try:
            return self._compile(template).render(context)
        except TemplateError as error:
            raise TemplateFailure(str(error)) from error

    def holds(self, expression: str, context: dict[str, Any]) -> bool:
        """Whether a template expression is true."""
        return self.render(f"{{{{ 1 if ({expression}) else '' }}}}", context) != ""

    def _compiled(self, template: str) -> Template:
        if self._env is None:
            self._env = _environment()
        return self._env.from_string(template)


def _environment() -> SandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    made = SandboxedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True
    )
    made.filters.update(FILTERS)
    return made
