"""Each example runs as its README says, against a real stack and the rehearsal model."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmos_workers.client import LLMOS
from llmos_workers.config import LLMOSConfig
from llmos_workers.embedded.local import LocalSystem
from tests.support.wait import wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"
BIN = Path(sys.executable).parent
CI = EXAMPLES / "trace_drift_in_ci"


def environment(**more: str) -> dict[str, str]:
    """As a user's: the venv on PATH, no key, no setting of whoever runs the tests."""
    ours = ("LLMOS_", "ANTHROPIC_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    return kept | {"PATH": f"{BIN}:{os.environ['PATH']}"} | more


def run(*argv: str | Path, env: dict[str, str]) -> str:
    """The output; fails with it unless the program succeeds."""
    done = subprocess.run(
        [*map(str, argv)], env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    """What ``llmos up`` starts, for all examples that want it."""
    given = {
        "workspace": tmp_path_factory.mktemp("examples") / "workspace",
        "memory": {"insights": False},
    }
    with LocalSystem(LLMOSConfig.from_dict(given)) as running:
        yield running


@pytest.fixture
def env(system: LocalSystem) -> dict[str, str]:
    """How an example finds it; in the folder of ``llmos up`` it would find it by itself."""
    workspace, url = system.config.workspace, system.config.redis.url
    return environment(LLMOS_WORKSPACE=str(workspace), LLMOS_REDIS_URL=str(url))


def test_the_index_names_each_example_once() -> None:
    index = (EXAMPLES / "README.md").read_text()
    there = {p.name for p in EXAMPLES.iterdir() if p.name not in ("README.md", "__pycache__")}
    assert sorted(re.findall(r"^\| \[([\w.]+)/?\]", index, re.M)) == sorted(there)
    folders = [EXAMPLES / name for name in there if (EXAMPLES / name).is_dir()]
    assert [each for each in folders if not (each / "README.md").is_file()] == []
    for page in EXAMPLES.rglob("*.md"):
        links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
        assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.process
@pytest.mark.slow
def test_a_drifted_trace_fails_the_job() -> None:
    told = run(CI / "drift.sh", env=environment())
    assert "4 goals of 1 fixtures, 0 drifted" in told
    assert "step 2 of the replay differed" in told
    assert told.endswith("exit code 1\n")


@pytest.mark.parametrize(
    ("schema", "name"), [("github-workflows", "github-actions"), ("gitlab-ci", "gitlab-ci")]
)
def test_the_ci_files_are_what_they_should_be(schema: str, name: str) -> None:
    check = ("-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}")
    run(sys.executable, *check, CI / f"{name}.yml", env=environment())


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_reports_come_by_the_clock_and_cost_when_the_data_changed(
    system: LocalSystem, env: dict[str, str]
) -> None:
    folder = EXAMPLES / "csv_reports"
    script = folder / "reports.py"
    made = run(sys.executable, script, "add", folder / "sales.csv", "0 7 1 1 *", env=env)
    schedule = made.partition(":")[0]
    assert "has a schedule" in run(
        sys.executable, script, "add", folder / "sales.csv", "0 7 1 1 *", env=env
    )
    with LLMOS(system.config) as llmos:

        def fire(times: int) -> None:
            """Let the hour come; each firing's second is another one, for it names the goal."""
            moment = int(llmos.clock.now()) - 10 + times
            llmos.schedules._change(schedule, lambda _: {"next_at": float(moment)})
            wait_until(
                lambda: (
                    [r.outcome is not None for r in llmos.list(project="reports")] == [True] * times
                ),
                300,
                f"report {times} is there",
            )

        fire(1)
        fire(2)
        table = system.config.workspace / "projects/reports/output/sales.csv"
        table.write_text(table.read_text() + "2026-11-04,tea,9\n")
        fire(3)
    shown = run(sys.executable, script, "show", env=env).splitlines()
    assert [line.split()[:2] for line in shown] == [
        ["SUCCEEDED", mode] for mode in ("LEARNER", "FOLLOWER", "MIXED")
    ]
    assert [line.split()[2] == "$0.0000" for line in shown] == [False, True, False]
    assert "total amount 120" in shown[2]


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_web_app_enqueues_goals_and_shows_them(env: dict[str, str]) -> None:
    argv = [sys.executable, str(EXAMPLES / "web_app" / "app.py"), "0"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=quiet, text=True) as app:
        assert app.stdout is not None
        try:
            use_the_web_app(app.stdout.readline().strip())
        finally:
            app.kill()


def use_the_web_app(url: str) -> None:
    key = {"Idempotency-Key": "a"}
    code, text, where = ask(f"{url}/goals", '{"goal": "Write a haiku about <web>"}', **key)
    assert code == 202
    assert ask(f"{url}/goals", '{"goal": "Write a haiku about <web>"}', **key)[1] == text

    def shown() -> dict:
        return json.loads(ask(url + where)[1])

    wait_until(lambda: shown()["outcome"] is not None, 300, "the goal ends")
    assert shown()["outcome"]["status"] == "SUCCEEDED"
    _, page, _ = ask(url, Accept="text/html")
    assert where in page
    assert "about &lt;web&gt;" in page
    assert ask(url + where, Accept="text/html")[1].startswith("<pre>")
    for body in ("{}", '{"goal": ""}', "nonsense"):
        code, text, _ = ask(f"{url}/goals", body)
        assert (code, bool(json.loads(text)["error"])) == (400, True)
    assert [ask(f"{url}/{path}")[0] for path in ("nothing", "goals/unknown")] == [404, 400]


def ask(url: str, body: str | None = None, **headers: str) -> tuple[int, str, str]:
    """Code, body and Location; what is posted is JSON."""
    names = {"Accept": "application/json", "Content-Type": "application/json"}
    asked = urllib.request.Request(
        url, data=body.encode() if body else None, headers=names | headers
    )
    try:
        with urllib.request.urlopen(asked, timeout=60) as told:
            return told.status, told.read().decode(), told.headers.get("Location", "")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), ""


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_research_report_is_planned_once(env: dict[str, str]) -> None:
    script = EXAMPLES / "research_report" / "report.py"
    first = run(sys.executable, script, env=env).splitlines()
    assert first[0].startswith("SUCCEEDED  ORCHESTRATOR")
    assert "reviewed by: reviewer; missing: nothing" in first
    assert [line.split()[0] for line in first[1:5]] == ["1", "1", "2", "1"]
    written = [Path(line.strip()) for line in first if line.startswith("  /")]
    assert {path.name for path in written} == {
        "README.md", "findings.md", "people.txt", "report.md",
    }  # fmt: skip
    assert all(path.is_file() for path in written)
    again = run(sys.executable, script, env=env)
    assert "its plan is known" in again
    assert set(re.findall(r"\$\d\.\d{4}", again)) == {"$0.0000"}


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_internal_state_changes_what_runs_unasked(env: dict[str, str]) -> None:
    told = run(sys.executable, EXAMPLES / "sentience_demo.py", env=env).splitlines()
    calm, careful = told.index("  calm: SUCCEEDED"), told.index("  careful: SUCCEEDED")
    assert not [line for line in told[:calm] if "waits for a yes" in line]
    assert "waits for a yes to Write" in "".join(told[calm:careful])
    assert told[0].endswith("balanced: writes unasked")
    assert told[careful - 2].endswith("cautious: asks before it writes")
    assert told[-1].endswith("balanced")


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_robot_arm_moves_within_its_bounds() -> None:
    told = run(sys.executable, EXAMPLES / "robot_arm" / "run.py", env=environment()).splitlines()
    assert told[0].endswith(": SUCCEEDED, LEARNER")
    assert told[1:3] == [
        "device  Move the arm to 120: done; the arm is at 120 mm",
        "device  Move the arm to 250: done; the arm is at 250 mm",
    ]
    assert "301: refused, MoveArm.x = 301 is not within" in told[3]
    assert "Drop the part: refused" in told[4]
    assert [line.endswith("the arm is at 250 mm") for line in told[3:]] == [True, True]
