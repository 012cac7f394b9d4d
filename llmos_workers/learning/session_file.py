"""A session as a Markdown file: front matter, then goal, steps and answer as people read them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from llmos_workers.contracts.errors import MalformedFile
from llmos_workers.contracts.memory import Session
from llmos_workers.kernel.front_matter import FrontMatterError, dump_front_matter, load_mapping
from llmos_workers.learning.trace_prose import one_line

FENCE = "---"


def render_session(session: Session) -> str:
    """The file's text. ``parse_session`` gives the same session back."""
    fields = session.model_dump(mode="json", exclude_defaults=True)
    lines = [
        FENCE,
        dump_front_matter(fields).rstrip(),
        FENCE,
        "",
        f"# {one_line(session.goal, 200)}",
        "",
    ]
    lines.append(f"{session.status} in {session.mode or 'no mode'}, {_dollars(session)}")
    if session.steps:
        lines += ["", "## Steps", ""]
    for number, step in enumerate(session.steps, 1):
        failed = "" if step.ok else f" (failed: {step.error or 'no reason given'})"
        lines.append(f"{number}. {step.tool}: {step.summary}{failed}")
    for title, text in (("Error", session.error), ("Answer", session.answer)):
        if text:
            lines += ["", f"## {title}", "", text]
    return "\n".join(lines) + "\n"


def parse_session(text: str, path: str) -> Session:
    """The session in a file. Raises MalformedFile."""
    fields, _body = split_front_matter(text, path)
    try:
        return Session.model_validate(_plain(fields))
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise MalformedFile(path, f"{where}: {error.errors()[0]['msg']}") from None


def split_front_matter(text: str, path: str) -> tuple[dict[str, Any], str]:
    """Front matter, if there is any, and what stands below it. Raises MalformedFile."""
    lines = text.splitlines()
    if not lines or lines[0].rstrip() != FENCE:
        return {}, text
    end = next((n for n, line in enumerate(lines[1:], 1) if line.rstrip() == FENCE), None)
    if end is None:
        raise MalformedFile(path, f"the front matter has no closing line {FENCE!r}.")
    try:
        fields = load_mapping("\n".join(lines[1:end]) + "\n")
    except FrontMatterError as error:
        raise MalformedFile(path, error.reason, line=error.line + 1) from None
    return fields, "\n".join(lines[end + 1 :])


def _plain(value: Any) -> Any:
    """Front matter as JSON would have it."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _dollars(session: Session) -> str:
    calls = f"{session.llm_calls} model call{'' if session.llm_calls == 1 else 's'}"
    return f"{calls}, ${session.cost_micro / 1e6:.6f}"
