"""doctor: each finding names its fix, and a failure is exit 6."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from llmos_cli import checks
from llmos_cli.checks import Verdict
from llmos_workers.kernel import keys
from llmos_workers.kernel.schema import SCHEMA
from tests.conftest import free_port


def findings(ran):
    return {each["name"]: each for each in ran.json["checks"]}


def beat(state, *roles):
    for role in roles:
        facts = {"worker": f"{role}-1@host", "role": role, "queues": [role]}
        state.set(keys.heartbeat(f"{role}-1@host"), json.dumps(facts))


def test_without_redis_it_says_so_and_checks_the_rest(bare_run):
    ran = bare_run("--redis-url", f"redis://127.0.0.1:{free_port()}", "doctor", "--json")
    found = findings(ran)
    assert ran.code == 6
    assert found["redis"]["verdict"] == "fail"
    assert "redis.url" in found["redis"]["fix"]
    assert found["workers"]["verdict"] == "fail"
    assert found["workspace"]["verdict"] == "ok"


def test_every_finding_that_is_not_ok_names_a_fix(run):
    for each in findings(run("doctor", "--json")).values():
        assert bool(each["fix"]) == (each["verdict"] != "ok"), each


def test_workers_are_seen_by_their_heartbeats(run, state):
    beat(state, "dispatch", "llm")
    found = findings(run("doctor", "--json"))
    assert found["worker dispatch"]["detail"] == "dispatch-1@host"
    assert found["worker llm"]["verdict"] == "ok"
    assert found["worker replay"]["verdict"] == "fail"
    assert found["worker upkeep"]["verdict"] == "warn"


def test_all_well_is_exit_zero(run, state, tmp_path):
    beat(state, "dispatch", "llm", "replay", "upkeep")
    found = findings(run("doctor", "--json"))
    failed = {name for name, each in found.items() if each["verdict"] == "fail"}
    assert failed <= {"sandbox"}  # which is a matter of this host's kernel
    assert run("doctor").code == (6 if failed else 0)


def test_eviction_is_a_failure_with_the_setting_to_change(run, state):
    before = state.config_get("maxmemory-policy")["maxmemory-policy"]
    state.config_set("maxmemory-policy", "allkeys-lru")
    try:
        found = findings(run("doctor", "--json"))
    finally:
        state.config_set("maxmemory-policy", before)
    assert found["redis eviction"]["verdict"] == "fail"
    assert "noeviction" in found["redis eviction"]["fix"]


@pytest.mark.parametrize(
    ("finding", "verdict"),
    [
        (checks.redis_version("6.2.1"), Verdict.FAIL),
        (checks.redis_version("7.0.0"), Verdict.OK),
        (checks.redis_version("9.1"), Verdict.OK),
        (checks.redis_version("strange"), Verdict.FAIL),
        (checks.append_only(0, "always"), Verdict.WARN),
        (checks.append_only(1, "always"), Verdict.OK),
        (checks.append_only(1, "everysec"), Verdict.WARN),
        (checks.append_only(1, ""), Verdict.OK),
        (checks.room(1 << 20), Verdict.FAIL),
        (checks.room(500 << 20), Verdict.WARN),
        (checks.room(5 << 30), Verdict.OK),
    ],
)
def test_thresholds(finding, verdict):
    assert finding.verdict is verdict


def test_a_workspace_that_is_a_file_is_a_failure(run, tmp_path):
    (tmp_path / "workspace").write_text("x")
    found = findings(run("doctor", "--json"))
    assert found["workspace"]["verdict"] == "fail"
    assert "--workspace" in found["workspace"]["fix"]


def test_malformed_agents_and_traces_are_named(run, tmp_path):
    agents = tmp_path / "workspace" / "agents"
    traces = tmp_path / "workspace" / "memories" / "traces" / "default"
    agents.mkdir(parents=True)
    traces.mkdir(parents=True)
    (agents / "bad.md").write_text("---\nname: [\n---\n")
    (traces / "bad-0123456789abcdef.md").write_text("no front matter")
    found = run("doctor", "--json").json["checks"]
    told = {each["name"]: each["detail"] for each in found if each["verdict"] == "warn"}
    assert "bad.md" in told["agents"]
    assert "bad-0123456789abcdef.md" in told["traces"]


def test_an_unknown_model_names_the_price_file(run, monkeypatch):
    monkeypatch.setenv("LLMOS_MODEL", "gpt-nonsense")
    found = findings(run("doctor", "--json"))["model price"]
    assert found["verdict"] == "fail"
    assert "gpt-nonsense" in found["detail"]


def test_a_wrong_setting_ends_the_examination(run, monkeypatch):
    monkeypatch.setenv("LLMOS_SDK__MAX_TURNS", "many")
    ran = run("doctor", "--json")
    assert ran.code == 6
    assert list(findings(ran)) == ["settings"]


class Qdrant(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self):
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(("status", "verdict"), [(200, "ok"), (401, "fail"), (500, "fail")])
def test_an_index_server_is_asked(run, monkeypatch, status, verdict):
    handler = type("Handler", (Qdrant,), {"status": status})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("LLMOS_INDEX__QDRANT_URL", url)
        found = findings(run("doctor", "--json"))["index"]
        server.shutdown()
        thread.join()
    assert found["verdict"] == verdict
    assert ("api_key" in found["fix"]) == (status == 401)


def test_an_index_server_that_is_away_is_a_failure(run, monkeypatch):
    monkeypatch.setenv("LLMOS_INDEX__QDRANT_URL", f"http://127.0.0.1:{free_port()}")
    assert findings(run("doctor", "--json"))["index"]["verdict"] == "fail"
    monkeypatch.setenv("LLMOS_INDEX__QDRANT_URL", "file:///etc/passwd")
    assert findings(run("doctor", "--json"))["index"]["verdict"] == "fail"


def test_online_asks_the_endpoint_with_the_key(run, monkeypatch):
    from llmos_workers.rehearsal.server import RehearsalServer

    with RehearsalServer(api_key="right") as server:
        monkeypatch.setenv("LLMOS_BASE_URL", server.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "right")
        assert findings(run("doctor", "--online", "--json"))["model online"]["verdict"] == "ok"
        monkeypatch.setenv("ANTHROPIC_API_KEY", "wrong")
        found = findings(run("doctor", "--online", "--json"))["model online"]
    assert found["verdict"] == "fail"
    assert "key" in found["fix"]


def test_agents_that_are_granted_a_network_which_the_host_cannot_give(run, monkeypatch, tmp_path):
    from llmos_workers.execution.sandbox import level1

    if level1.probe().level < 1:
        pytest.skip("this host confines no commands at all")
    monkeypatch.setattr(level1, "network_fault", lambda: "no namespaces")
    assert findings(run("doctor", "--json"))["egress"]["verdict"] == "ok"
    agents = tmp_path / "workspace" / "agents"
    agents.mkdir(parents=True)
    (agents / "fetcher.md").write_text(
        "---\nname: fetcher\ndescription: a\nnetwork: [example.com]\n---\nYou fetch.\n"
    )
    found = findings(run("doctor", "--json"))["egress"]
    assert found["verdict"] == "warn"
    assert "fetcher" in found["fix"]


def test_hooks_that_cannot_be_had_and_settings_of_projects_that_make_no_sense_are_named(
    run, tmp_path
):
    assert findings(run("doctor", "--json"))["hooks"]["verdict"] == "ok"
    projects = tmp_path / "workspace" / "projects"
    for name, text in (("one", 'hooks = ["./gone"]\n'), ("two", "tools = 3\n")):
        (projects / name).mkdir(parents=True)
        (projects / name / "project.toml").write_text(text)
    found = run("doctor", "--json").json["checks"]
    told = " ".join(c["detail"] for c in found if (c["name"], c["verdict"]) == ("hooks", "fail"))
    assert "gone cannot be used" in told
    assert "project.toml:1: tools" in told


def test_the_schema_of_the_data_is_told(run, state):
    assert "when they start" in findings(run("doctor", "--json"))["schema"]["detail"]
    for version, reads, verdict in ((SCHEMA, 0, "ok"), (99, 0, "warn"), (99, 99, "fail")):
        state.hset(keys.SCHEMA, mapping={"version": version, "reads": reads})
        assert findings(run("doctor", "--json"))["schema"]["verdict"] == verdict
    state.hset(keys.SCHEMA, mapping={"restoring": "1"})
    assert "restored" in findings(run("doctor", "--json"))["schema"]["detail"]
