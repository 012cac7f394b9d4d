"""Fixtures of ``llmos test``: which goals a trace must answer, which not, and with what effect.

The form is told in docs/trace-tests.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from llmos_workers.config import describe_validation
from llmos_workers.contracts.base import Contract
from llmos_workers.contracts.errors import InvalidOption, MalformedFile
from llmos_workers.contracts.goal import check_project_name
from llmos_workers.contracts.trace import ExecutionTrace, Standing
from llmos_workers.kernel.front_matter import FrontMatterError, load_mapping
from llmos_workers.learning.trace_file import MAX_BYTES, from_markdown

FORMAT = 1


class ExpectedFile(Contract):
    """What a file must be after a goal."""

    sha256: str | None = None
    content: str | None = None
    contains: str | None = None


class MustMatch(Contract):
    """A goal that must be replayed, and what must come of it."""

    goal: str
    trace: str | None = None
    """Id of the trace that must be followed; None: any of the fixture's."""
    slots: dict[str, str] = Field(default_factory=dict)
    """Values that must be bound; others may be too."""
    files: dict[str, ExpectedFile | None] = Field(default_factory=dict)
    """All that the replay changes, by path; null: it removes the file."""
    answer: str | None = None
    """Text that the answer must hold."""


class Fixture(Contract):
    """One file of tests."""

    format: int = FORMAT
    traces: tuple[str, ...] = Field(min_length=1)
    """Markdown files of traces, or folders of them, from the fixture's own folder."""
    project: str = "default"
    given: dict[str, str] = Field(default_factory=dict)
    """Files that are there before each goal: path to content."""
    must_match: tuple[MustMatch, ...] = ()
    must_not_match: tuple[str, ...] = ()


def load_fixture(path: Path) -> Fixture:
    """Read a fixture. Raises MalformedFile."""
    try:
        fixture = Fixture.model_validate(load_mapping(path.read_text(encoding="utf-8")))
        check_project_name(fixture.project)
    except (OSError, UnicodeDecodeError) as error:
        raise MalformedFile(str(path), f"it cannot be read: {error}") from None
    except FrontMatterError as error:
        raise MalformedFile(str(path), error.reason, line=error.line or 1) from None
    except ValidationError as error:
        raise MalformedFile(str(path), describe_validation(error)) from None
    except InvalidOption as error:
        raise MalformedFile(str(path), error.message) from None
    if fixture.format != FORMAT:
        raise MalformedFile(str(path), f"its form {fixture.format} is not known.")
    return fixture


def load_traces(fixture: Fixture, path: Path) -> list[ExecutionTrace]:
    """The traces a fixture names, in its project. They count as approved: whoever reviews the
    fixture reviews them. Raises MalformedFile.
    """
    files: list[Path] = []
    for name in fixture.traces:
        place = path.parent / name
        files += sorted(place.glob("*.md")) if place.is_dir() else [place]
    found: dict[str, ExecutionTrace] = {}
    for file in files:
        try:
            if file.stat().st_size > MAX_BYTES:
                raise MalformedFile(str(file), f"a trace has at most {MAX_BYTES:,} bytes.")
            trace = from_markdown(file.read_bytes(), str(file))
        except OSError as error:
            raise MalformedFile(str(file), f"it cannot be read: {error.strerror}") from None
        if trace.trace_id in found:
            raise MalformedFile(str(file), f"the trace {trace.trace_id} is there twice.")
        found[trace.trace_id] = trace.model_copy(
            update={"project": fixture.project, "standing": Standing.SIGNED}
        )
    if not found:
        raise MalformedFile(str(path), "it names no trace.")
    return list(found.values())


def to_yaml(fixture: Fixture) -> str:
    """A fixture as a file."""
    data: dict[str, Any] = fixture.model_dump(mode="json", exclude_defaults=True)
    data = {"format": FORMAT} | data
    data.setdefault("must_not_match", [])
    for case in data.get("must_match", ()):
        for file in (case.get("files") or {}).values():
            for name in [name for name, value in (file or {}).items() if value is None]:
                del file[name]
    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)
    return text
