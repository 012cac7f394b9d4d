"""compose.yaml and deploy/: valid by their schemas, hardened, and in step with the code.

Nothing here starts anything: test_stand_in.py does, docs/deploy.md says what was never run.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from llmos_workers import LLMOS, LLMOSConfig
from llmos_workers.config import merge
from llmos_workers.config_sources import load_config
from llmos_workers.monitor.exposition import SystemCollector
from llmos_workers.worker import ROLES
from tests.deploy.conftest import DEPLOY, ROOT

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
OBJECTS = [each for path in MANIFESTS for each in yaml.safe_load_all(path.read_text())]
PODS = [o for o in OBJECTS if o["kind"] in ("Deployment", "StatefulSet")]
RULES = yaml.safe_load((DEPLOY / "prometheus" / "rules.yaml").read_text())
BOARD = json.loads((DEPLOY / "grafana" / "llmos.json").read_text())
SCALING = list(yaml.safe_load_all((DEPLOY / "kubernetes/keda/scaling.yaml").read_text()))
OURS = {*ROLES, "flower", "metrics"}


def name_of(thing: dict[str, Any]) -> str:
    return f"{thing['kind']}-{thing['metadata']['name']}"


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {o["metadata"]["name"]: o for o in OBJECTS if o["kind"] == kind}


# Compose


def test_compose_fits_its_schema():
    found = importlib.util.find_spec("check_jsonschema")
    path = Path(found.origin).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema = json.loads(path.read_text())
    jsonschema.validate(COMPOSE, schema)
    broken = COMPOSE | {"services": {"x": {"cap_dorp": []}}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_compose_has_every_role():
    assert set(SERVICES) == OURS | {"redis", "qdrant", "collector"}
    assert [name for name, each in SERVICES.items() if "profiles" in each] == ["collector"]
    for role in ROLES:
        assert SERVICES[role]["command"] == ["worker", role]


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_hardened_and_bounded(name):
    service = SERVICES[name]
    assert service["user"].split(":")[0] not in ("", "0", "root")
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["read_only"] is True
    assert "no-new-privileges:true" in service["security_opt"]
    assert {"mem_limit", "cpus", "pids_limit", "healthcheck"} <= set(service)
    if name != "collector":  # its image has no program that could ask
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", []))


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_come_by_file_only(name):
    service = SERVICES[name]
    names = [s if isinstance(s, str) else s["source"] for s in service.get("secrets", ())]
    assert names or name == "collector"
    assert set(names) <= set(COMPOSE["secrets"])
    for variable, value in service.get("environment", {}).items():
        if re.search("KEY|PASS|SECRET|TOKEN|AUTH|URL", variable):
            assert str(value).startswith("/run/secrets/"), variable


def test_spans_go_where_the_collector_listens():
    sent = SERVICES["llm"]["environment"]["LLMOS_TELEMETRY__ENDPOINT"]
    config = yaml.safe_load((DEPLOY / "otel" / "collector.yaml").read_text())
    host, _, port = sent.removeprefix("http://").partition(":")
    listens = config["receivers"]["otlp"]["protocols"]["http"]["endpoint"]
    assert (host, listens) == ("collector", f"0.0.0.0:{port}")
    assert SERVICES["collector"]["command"] == ["--config=/etc/otelcol/config.yaml"]
    for part in ("receivers", "processors", "exporters"):
        assert set(config["service"]["pipelines"]["traces"][part]) <= set(config[part])
    assert "otel" in (DEPLOY / "Dockerfile").read_text().partition(".[")[2].partition("]")[0]


def test_each_secret_is_one_that_is_made(make_secrets):
    made = set(make_secrets.files(dict.fromkeys((*make_secrets.ROLES, "qdrant", "web"), "x")))
    assert {s["file"].removeprefix("secrets/") for s in COMPOSE["secrets"].values()} <= made


@pytest.mark.parametrize("role", ["producer", "worker", "observer", "flower"])
def test_the_settings_that_are_made_are_settings(make_secrets, role, tmp_path):
    passwords = dict.fromkeys((*make_secrets.ROLES, "qdrant", "web"), "pw")
    path = tmp_path / f"{role}.toml"
    path.write_text(make_secrets.files(passwords, model_key="k")[f"{role}.toml"])
    config = load_config(path)
    assert config.redis.url == f"redis://llmos-{role}:pw@redis:6379"
    assert (config.sdk.api_key is not None) == (role == "worker")
    assert merge({}, tomllib.loads(path.read_text()))


# The image


def test_the_image_is_built_in_stages_and_runs_as_nobody():
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    assert len([line for line in lines if line.startswith("FROM ")]) == 2
    last = max(n for n, line in enumerate(lines) if line.startswith("FROM "))
    user = next(line for line in lines[last:] if line.startswith("USER "))
    assert user == "USER 10001:10001"
    assert any(line.startswith("HEALTHCHECK") for line in lines[last:])
    copied = [line.split()[1:-1] for line in lines if re.match(r"COPY (?!--from)", line)]
    for source in (name for names in copied for name in names):
        assert (ROOT / source).exists(), source
        assert f"!{source}" in (ROOT / ".dockerignore").read_text().split(), source


# Kubernetes


@pytest.mark.parametrize("thing", OBJECTS, ids=name_of)
def test_each_manifest_fits_its_schema(thing):
    kubernetes_validate.validate(thing, kubernetes_validate.latest_version(), strict=True)


def test_a_wrong_manifest_would_be_noticed():
    wrong = json.loads(json.dumps(PODS[0]))
    wrong["spec"]["template"]["spec"]["containers"][0]["imgae"] = "x"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("thing", PODS, ids=name_of)
def test_each_pod_is_hardened_and_bounded(thing):
    pod = thing["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= set(container["resources"]["limits"])
        assert "livenessProbe" in container
        assert not any("secretKeyRef" in str(each) for each in container.get("env", []))
    mounted = {v["name"]: v["mountPath"] for c in pod["containers"] for v in c["volumeMounts"]}
    claimed = {c["metadata"]["name"] for c in thing["spec"].get("volumeClaimTemplates", [])}
    assert set(mounted) == {volume["name"] for volume in pod["volumes"]} | claimed


def test_each_selector_finds_its_pods():
    labels = {name_of(o): o["spec"]["template"]["metadata"]["labels"] for o in PODS}

    def chosen(selector: dict[str, str]) -> list[str]:
        return [name for name, have in labels.items() if selector.items() <= have.items()]

    for pod in PODS:
        assert chosen(pod["spec"]["selector"]["matchLabels"]) == [name_of(pod)]
    for service in of_kind("Service").values():
        assert len(chosen(service["spec"]["selector"])) == 1
    budgets = of_kind("PodDisruptionBudget")
    assert set(budgets) == {"dispatch", "llm", "replay", "redis", "qdrant"}
    for budget in budgets.values():
        assert len(chosen(budget["spec"]["selector"]["matchLabels"])) == 1
    for policy in of_kind("NetworkPolicy").values():
        assert chosen(policy["spec"]["podSelector"].get("matchLabels", {})), policy["metadata"]
    assert set(ROLES) <= set(of_kind("Deployment"))


def test_nothing_is_open_that_no_policy_opens():
    (closed,) = [p for p in of_kind("NetworkPolicy").values() if p["metadata"]["name"] == "nothing"]
    assert closed["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    model = of_kind("NetworkPolicy")["to-the-model"]["spec"]
    assert model["podSelector"] == {"matchLabels": {"llmos/worker": "llm"}}
    refused = model["egress"][0]["to"][0]["ipBlock"]["except"]
    assert {"169.254.0.0/16", "10.0.0.0/8", "127.0.0.0/8"} <= set(refused)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="this machine has no kubectl")
def test_kustomize_renders_it_all():
    made = subprocess.run(["kubectl", "kustomize", DEPLOY], check=True, capture_output=True)
    kinds = [each["kind"] for each in yaml.safe_load_all(made.stdout)]
    assert len(kinds) == len(OBJECTS) + 1  # the ConfigMap with redis.conf


# Metrics


def names_in(expression: str) -> set[str]:
    return set(re.findall(r"\bllmos_[a-z_]+", expression))


@pytest.fixture
def families(redis_server, state, tmp_path):
    config = {"workspace": tmp_path, "redis": {"url": redis_server}}
    with LLMOS(LLMOSConfig.from_dict(config)) as client:
        return list(SystemCollector(client).collect())


def test_each_metric_of_rules_dashboard_and_scaling_is_one_of_ours(families):
    kinds = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"], "gauge": [""]}
    ours = {family.name + end for family in families for end in kinds[family.type]}
    rules = [rule["expr"] for group in RULES["groups"] for rule in group["rules"]]
    panels = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
    scaling = [each["spec"]["triggers"][0]["metadata"]["query"] for each in SCALING]
    for expression in [*rules, *panels, *scaling]:
        assert names_in(expression), expression
        assert names_in(expression) <= ours, expression
    page = (ROOT / "docs" / "monitoring.md").read_text()
    assert [f.name for f in families if f.name.removeprefix("llmos_budget_") not in page
            and f.name not in page and "budget" not in f.name] == []  # fmt: skip


def test_scaling_is_by_our_backlog_of_roles_that_are_there():
    for each in SCALING:
        role = each["metadata"]["name"]
        assert each["kind"] == "ScaledObject"
        assert each["spec"]["scaleTargetRef"]["name"] == role
        assert role in of_kind("Deployment")
        query = each["spec"]["triggers"][0]["metadata"]["query"]
        assert query == f'sum(llmos_backlog{{queue="{role}"}})'
        assert each["spec"]["minReplicaCount"] >= 1


@pytest.mark.skipif(shutil.which("promtool") is None, reason="this machine has no promtool")
def test_each_alert_fires_when_it_should(tmp_path):
    shutil.copy(DEPLOY / "prometheus" / "rules.yaml", tmp_path)
    shutil.copy(Path(__file__).with_name("rules_test.yaml"), tmp_path)
    argv = ["promtool", "test", "rules", "rules_test.yaml"]
    ended = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    tested = (tmp_path / "rules_test.yaml").read_text()
    assert [r["alert"] for r in RULES["groups"][0]["rules"] if r["alert"] not in tested] == []


def test_the_dashboard_leaves_out_no_metric(families):
    shown = set().union(
        *(names_in(target["expr"]) for p in BOARD["panels"] for target in p["targets"])
    )
    kinds = {"counter": "_total", "histogram": "_bucket", "gauge": ""}
    left_out = {f.name + kinds[f.type] for f in families} - shown
    assert left_out == {"llmos_up"}  # an alert, not a curve


def test_rules_and_panels_are_whole():
    for rule in RULES["groups"][0]["rules"]:
        assert {"alert", "expr", "labels", "annotations"} <= set(rule)
        assert rule["expr"].count("(") == rule["expr"].count(")")
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids))
    assert all(panel["title"] and panel["targets"] for panel in BOARD["panels"])
