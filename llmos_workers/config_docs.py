"""The tables in docs/configuration.md, made from the models.

``python -m llmos_workers.config_docs docs/configuration.md`` rewrites them between their markers.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from llmos_workers import config as models
from llmos_workers import config_execution, config_learning, config_telemetry
from llmos_workers.config import LLMOSConfig
from llmos_workers.config_keys import (
    OTHER_VARIABLES,
    SHORT_VARIABLES,
    WITHOUT_EFFECT,
    all_keys,
    variable_of,
)
from llmos_workers.contracts.base import Contract

NO_QUOTES = str.maketrans("", "", "'[]")
MARKERS = "<!-- {}: begin -->", "<!-- {}: end -->"


def settings_table() -> str:
    """One Markdown table per group: key, default, variable, meaning."""
    meanings = _attribute_docs()
    shorts = {key: name for name, key in SHORT_VARIABLES.items()}
    groups: dict[str, list[str]] = {}
    for key, annotation in all_keys().items():
        group, _, field = key.rpartition(".")
        owner = type(getattr(LLMOSConfig(), group)) if group else LLMOSConfig
        default = getattr(getattr(LLMOSConfig(), group) if group else LLMOSConfig(), field)
        variable = f"`{variable_of(key)}`"
        if group and key in shorts:
            variable += f" or `{shorts[key]}`"
        meaning = meanings.get((owner.__name__, field), "")
        if key in WITHOUT_EFFECT:
            meaning = f"{meaning} *Without effect: {WITHOUT_EFFECT[key]}.*".strip()
        row = f"| `{field}` | {_default(default)} | {_type(annotation)} | {variable} | {meaning} |"
        groups.setdefault(group, []).append(row)
    return "\n".join(_section(group, rows) for group, rows in groups.items())


def variables_table() -> str:
    """The variables that are no settings."""
    rows = [f"| `{name}` | {meaning} |" for name, meaning in OTHER_VARIABLES.items()]
    rows.append("| `LLMOS_TEST_*` | belong to the test suite |")
    return "\n".join(["| variable | meaning |", "|---|---|", *rows])


def write_tables(path: Path) -> None:
    """Put the current tables between the markers of the document."""
    text = path.read_text(encoding="utf-8")
    for name, table in (("settings", settings_table()), ("variables", variables_table())):
        begin, end = (marker.format(name) for marker in MARKERS)
        head, _, rest = text.partition(begin)
        text = f"{head}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
    path.write_text(text, encoding="utf-8")


def _section(group: str, rows: list[str]) -> str:
    head = "| field | default | type | variable | meaning |\n|---|---|---|---|---|\n"
    title = f"### [{group}]" if group else "### top level"
    return f"{title}\n\n{head}" + "\n".join(rows) + "\n"


def _default(value: Any) -> str:
    if value is None or isinstance(value, SecretStr):
        return "not set"
    if isinstance(value, tuple):
        return "none" if not value else f"`{', '.join(value)}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _type(annotation: Any) -> str:
    text = getattr(annotation, "__name__", "") if isinstance(annotation, type) else str(annotation)
    for long, short in (
        ("typing.Literal", "one of "),
        ("pydantic.types.SecretStr", "secret"),
        ("tuple[str, ...]", "list"),
        (" | None", ""),
        ("SandboxDemand", "require or prefer"),
        ("pathlib._local.", ""),  # how Python 3.13 names it
        ("pathlib.", ""),
    ):
        text = text.replace(long, short)
    return text.replace("one of [", "one of ").translate(NO_QUOTES) if "one of" in text else text


def _attribute_docs() -> dict[tuple[str, str], str]:
    """(class, field) -> the text literal below the field, from the source of the models."""
    docs = {}
    modules = (models, config_learning, config_execution, config_telemetry)
    sources = (Path(str(module.__file__)) for module in modules)
    trees = [ast.parse(source.read_text(encoding="utf-8")) for source in sources]
    for node in (n for tree in trees for n in tree.body if isinstance(n, ast.ClassDef)):
        if not issubclass(getattr(models, node.name), Contract):
            continue
        for field, doc in zip(node.body, node.body[1:], strict=False):
            if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
                continue
            if isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant):
                text = " ".join(str(doc.value.value).split())
                docs[node.name, field.target.id] = text.replace("``", "`").replace("|", "\\|")
    return docs


if __name__ == "__main__":
    write_tables(Path(sys.argv[1]))
