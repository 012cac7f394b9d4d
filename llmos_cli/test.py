"""``llmos test``: traces as tests in git."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.options import offers, project_option
from llmos_cli.output import emit, json_option
from llmos_cli.progress import working
from llmos_cli.render import printable, short
from llmos_workers.client_connect import talking
from llmos_workers.contracts.errors import GoalNotFound, InvalidOption, WorkspaceUnwritable
from llmos_workers.contracts.trace import ExecutionTrace

if TYPE_CHECKING:
    from llmos_workers.contracts.watch import Watch
    from llmos_workers.testing.trace_run import Check, TraceTester

FOLDER = "trace-tests"


@click.command()
@click.argument("folder", metavar="[FOLDER]", default=FOLDER, shell_complete=offers("files"))
@click.option(
    "--init",
    "source",
    metavar="ID",
    help="Write a fixture into FOLDER from trace ID, or from what goal ID learned.",
)
@project_option("With --init: project of the trace.")
@click.option("--junit", metavar="FILE", shell_complete=offers("files"),
              help="Also write the results as JUnit XML.")  # fmt: skip
@json_option
@click.pass_obj
def test(
    session: Session, /, *, folder: str, source: str | None, project: str | None,
    junit: str | None, as_json: bool,
) -> int:  # fmt: skip
    """Replay the fixtures in FOLDER (trace-tests), without a model.

    In scratch, and without servers.

    Exits with 1 when a goal is not replayed as its fixture says, or is and must not be; with 2
    when a fixture cannot be read. docs/trace-tests.md tells their form.
    """
    from llmos_workers.learning.matching.embedder import load_embedder
    from llmos_workers.testing.trace_run import TraceTester

    files = _files(Path(folder)) if source is None else []
    tester = TraceTester(session.config, load_embedder(session.config.index))
    if source is not None:
        return _init(session, tester, Path(folder), source, project, as_json=as_json)
    with working("reading the fixtures", quiet=as_json) as watch:
        checks = _run(tester, Path(folder), files, watch)
    if junit is not None:
        _write(Path(junit), _junit(checks))
    failed = [check for check in checks if not check.ok]
    if as_json:
        cases = [{"fixture": c.fixture, "goal": c.goal, "must_match": c.must_match, "ok": c.ok,
                  "drift": list(c.drift)} for c in checks]  # fmt: skip
        emit({"goals": len(checks), "failed": len(failed), "checks": cases})
    else:
        _tell(checks)
    return Exit.FAILED if failed else Exit.SUCCEEDED


def _files(folder: Path) -> list[Path]:
    """All fixtures beneath a folder. Raises InvalidOption where there are none."""
    files = sorted(p for p in folder.rglob("*") if p.suffix in (".yaml", ".yml") and p.is_file())
    if not files:
        raise InvalidOption(
            f"{folder} holds no fixtures (*.yaml).", fix="Make one: llmos test --init GOAL_ID."
        )
    return files


def _run(tester: TraceTester, folder: Path, files: Sequence[Path], watch: Watch) -> list[Check]:
    """All checks of all fixtures. Raises InvalidOption."""
    from llmos_workers.contracts.errors import MalformedFile
    from llmos_workers.testing.trace_fixture import load_fixture, load_traces

    try:
        fixtures = [(file, load_fixture(file)) for file in files]
        loaded = [(f.relative_to(folder).as_posix(), x, load_traces(x, f)) for f, x in fixtures]
        total = sum(len(x.must_match) + len(x.must_not_match) for _, x, _ in loaded)
        each = (check for one in loaded for check in tester.check(*one))
        return list(watch("replaying", each, total))
    except MalformedFile as error:
        raise InvalidOption(error.message, fix=error.fix) from error


def _init(
    session: Session, tester: TraceTester, folder: Path, source: str, project: str | None,
    *, as_json: bool,
) -> int:  # fmt: skip
    from llmos_workers.kernel.workspace import Workspace
    from llmos_workers.testing.trace_fixture import to_yaml
    from llmos_workers.testing.trace_init import make_fixture

    with talking(session.client.place, "reading a trace"):
        trace = _trace_of(session, source, project)
    area = Workspace(session.config.workspace).peek(trace.project).output
    fixture, markdown = make_fixture(trace, area, tester)
    target = folder / fixture.traces[0].replace(".trace.md", ".yaml")
    if target.exists():
        raise InvalidOption(f"{target} is there already.", fix="Remove it first.")
    _write(folder / fixture.traces[0], markdown)
    _write(target, to_yaml(fixture))
    if as_json:
        emit({"fixture": str(target), "trace_id": trace.trace_id})
    else:
        print(printable(f"{target}: {len(fixture.must_match)} goals of trace {trace.trace_id}."))
        print("Add goals that look alike and must not match, under must_not_match.")
    return Exit.SUCCEEDED


def _trace_of(session: Session, source: str, project: str | None) -> ExecutionTrace:
    """The trace of that id, or the one that the goal of that id learned or followed."""
    from llmos_cli.traces_find import find

    try:
        record = session.client.goals.get(source)
    except GoalNotFound:
        return find(session, source, project)
    outcome = record.outcome
    trace_id = outcome and (outcome.learned_trace_id or outcome.trace_id)
    if not trace_id:
        raise InvalidOption(f"goal {source} neither learned nor followed a trace.")
    return find(session, trace_id, record.project)


def _tell(checks: Sequence[Check]) -> None:
    for check in checks:
        what = "" if check.must_match else "  (must not match)"
        print(printable(f"{'ok   ' if check.ok else 'DRIFT'}  {short(check.goal, 100)}{what}"))
        for text in check.drift:
            print(printable("\n".join(f"       {line}" for line in text.splitlines())))
    failed = sum(not check.ok for check in checks)
    print(f"{len(checks)} goals of {len({c.fixture for c in checks})} fixtures, {failed} drifted.")


def _junit(checks: Sequence[Check]) -> str:
    failures = str(sum(not check.ok for check in checks))
    suite = ET.Element("testsuite", name="llmos test", tests=str(len(checks)), failures=failures)
    for check in checks:
        case = ET.SubElement(suite, "testcase", classname=check.fixture, name=_xml(check.goal))
        if not check.ok:
            failure = ET.SubElement(case, "failure", message=_xml(short(check.drift[0], 200)))
            failure.text = _xml("\n".join(check.drift))
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _xml(text: str) -> str:
    """Text without characters that XML cannot hold."""
    return printable(text).encode("utf-8", "replace").decode()


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise WorkspaceUnwritable(f"{path} cannot be written: {error.strerror}.") from error
