"""Settings come from six places, in one order, and errors say where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_workers.config import PRESETS, LLMOSConfig
from llmos_workers.config_keys import all_keys, variable_of
from llmos_workers.config_sources import (
    MASK,
    ConfigBuilder,
    describe_config,
    dump_config,
    load_config,
    load_with_sources,
)
from llmos_workers.contracts.errors import ConfigError


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_each_source_beats_the_ones_below_it(tmp_path: Path) -> None:
    assert load_config(env={}).sdk.model == "claude-sonnet-5-5"
    assert load_config(env={}, preset="production").kernel.budget_usd == 100
    write(tmp_path / "llmos.toml", "[kernel]\nbudget_usd = 7\n")
    env = {"LLMOS_PRESET": "production"}
    assert load_config(env=env).kernel.budget_usd == 7
    env["LLMOS_BUDGET_USD"] = "8"
    assert load_config(env=env).kernel.budget_usd == 8
    env["LLMOS_KERNEL__BUDGET_USD"] = "9"
    assert load_config(env=env).kernel.budget_usd == 9
    config = load_config(env=env, overrides={"budget_usd": 10.5})
    assert config.kernel.budget_usd == 10.5
    assert config.security.sandbox == "require", "the preset's other keys stay"


def test_anthropic_variables_fill_only_what_nothing_else_says() -> None:
    env = {"ANTHROPIC_API_KEY": "sk-a", "ANTHROPIC_BASE_URL": "http://a"}
    config = load_config(env=env)
    assert config.sdk.api_key is not None
    assert config.sdk.api_key.get_secret_value() == "sk-a"
    assert config.sdk.base_url == "http://a"
    config = load_config(env=env | {"LLMOS_BASE_URL": "http://b"})
    assert config.sdk.base_url == "http://b"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.toml", "model = 'haiku'\n[execution_layer]\ntop_k = 9"),
        ("c.yaml", "model: haiku\nexecution_layer: {top_k: 9}"),
        ("c.json", '{"model": "haiku", "execution_layer": {"top_k": 9}}'),
    ],
)
def test_file_formats_are_told_by_extension(tmp_path: Path, name: str, text: str) -> None:
    path = write(tmp_path / name, text)
    for config in (load_config(path, env={}), load_config(env={"LLMOS_CONFIG": str(path)})):
        assert config.sdk.model == "haiku"
        assert config.execution.top_k == 9


def test_a_files_relative_workspace_counts_from_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    path = write(folder / "c.toml", "workspace_path = 'ws'")
    assert load_config(path, env={}).workspace == folder / "ws"


def test_a_file_can_choose_its_preset_and_the_variable_beats_it(tmp_path: Path) -> None:
    path = write(tmp_path / "c.toml", "preset = 'testing'")
    assert load_config(path, env={}).kernel.budget_usd == 0.10
    assert load_config(path, env={"LLMOS_PRESET": "development"}).kernel.budget_usd == 1


def test_lists_in_variables_are_comma_separated() -> None:
    env = {"LLMOS_SECURITY__ALLOWED_HOSTS": "a.org, b.org,"}
    assert load_config(env=env).security.allowed_hosts == ("a.org", "b.org")


def test_flags_that_were_not_given_change_nothing() -> None:
    overrides = {"model": None, "sdk.max_turns": 3, "kernel": {"budget_usd": None}}
    config = load_config(env={"LLMOS_MODEL": "opus"}, overrides=overrides)
    assert (config.sdk.model, config.sdk.max_turns, config.kernel.budget_usd) == ("opus", 3, 10)


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"LLMOS_SDK__MODLE": "x"}, ["LLMOS_SDK__MODLE", "'LLMOS_SDK__MODEL'"]),
        ({"LLMOS_BUDGT_USD": "1"}, ["LLMOS_BUDGT_USD", "'LLMOS_BUDGET_USD'"]),
        ({"LLMOS_SDK__MAX_TURNS": "many"}, ["LLMOS_SDK__MAX_TURNS", "sdk.max_turns", "integer"]),
        ({"LLMOS_BUDGET_USD": "nan"}, ["LLMOS_BUDGET_USD", "kernel.budget_usd", "finite"]),
        ({"LLMOS_BUDGET_USD": "0"}, ["LLMOS_BUDGET_USD", "more than $0"]),
        ({"LLMOS_DISPATCHER__FOLLOWER_THRESHOLD": "0.5"}, ["follower_threshold", "0.92"]),
        ({"LLMOS_PRESET": "prodution"}, ["prodution", "'production'"]),
    ],
)
def test_a_wrong_variable_is_named_with_what_is_right(
    env: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(env=env)
    for word in words:
        assert word in str(caught.value)


def test_variables_that_are_no_settings_pass() -> None:
    env = {"LLMOS_TEST_QDRANT__URL": "x", "LLMOS_HEARTBEAT_FILE": "h"}
    assert load_config(env=env) == LLMOSConfig()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[sdk]\nmodle = 'x'", ["llmos.toml", "sdk.modle", "'sdk.model'"]),
        ("[kernal]\nbudget_usd = 1", ["llmos.toml", "kernal", "'kernel"]),
        ("[sdk]\nmax_turns = 0", ["llmos.toml", "sdk.max_turns", "greater"]),
        ("[security]\nhooks = [1]", ["llmos.toml", "security.hooks.0", "string"]),
        ("sdk = 3", ["llmos.toml", "sdk"]),
        ("this is not toml", ["llmos.toml", "line 1"]),
    ],
)
def test_a_wrong_file_is_named_with_the_key(tmp_path: Path, text: str, words: list[str]) -> None:
    write(tmp_path / "llmos.toml", text)
    with pytest.raises(ConfigError) as caught:
        load_config(env={})
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("name", ["gone.toml", "bad.yaml", "bad.json", "list.json", "folder.toml"])
def test_an_unreadable_file_is_a_config_error(tmp_path: Path, name: str) -> None:
    write(tmp_path / "bad.yaml", "a: [")
    write(tmp_path / "bad.json", "{")
    write(tmp_path / "list.json", "[]")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(ConfigError, match=name):
        load_config(tmp_path / name, env={})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.yaml", "sdk:\n  api_key: sk-secret: [\n"),
        ("c.toml", "[sdk]\napi_key = sk-secret"),
        ("c.json", '{"sdk": {"api_key": "sk-secret"'),
        ("c.json", '{"sdk": {"api_key": {"x": "sk-secret"}}}'),
        ("c.json", '{"sdk": "sk-secret"}'),
    ],
)
def test_a_faulty_file_does_not_tell_its_secrets(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path / name, text), env={})
    assert "secret" not in str(caught.value)
    assert name in str(caught.value)


def test_secrets_are_masked_wherever_settings_are_shown() -> None:
    env = {
        "ANTHROPIC_API_KEY": "sk-secret",
        "LLMOS_INDEX__QDRANT_API_KEY": "qd-secret",
        "LLMOS_REDIS_URL": "redis://user:pw-secret@host:6379",
    }
    config, sources = load_with_sources(env=env)
    rows = {key: (value, source) for key, value, source in describe_config(config, sources)}
    assert rows["sdk.api_key"] == (MASK, "variable ANTHROPIC_API_KEY")
    assert rows["redis.url"] == (f"redis://{MASK}@host:6379", "variable LLMOS_REDIS_URL")
    assert rows["sdk.max_turns"] == ("10", "default")
    assert "-secret" not in repr(rows)
    assert list(rows) == list(all_keys())


def test_sources_are_told_for_every_layer(tmp_path: Path) -> None:
    write(tmp_path / "llmos.toml", "model = 'opus'")
    config, sources = load_with_sources(
        env={"LLMOS_BASE_URL": "http://x"}, preset="production", overrides={"sdk.max_turns": 4}
    )
    told = {key: source for key, _, source in describe_config(config, sources)}
    assert told["sdk.model"] == "file llmos.toml"
    assert told["sdk.base_url"] == "variable LLMOS_BASE_URL"
    assert told["kernel.budget_usd"] == "preset production"
    assert told["sdk.max_turns"] == "flag"


@given(
    budget=st.floats(0.01, 1e6),
    key=st.none() | st.text("abc123", min_size=1),
    hosts=st.lists(st.text("abc.-", min_size=1), max_size=3),
    preset=st.sampled_from(sorted(PRESETS)),
)
def test_a_dump_reads_back_to_the_same_settings(
    tmp_path_factory: pytest.TempPathFactory,
    budget: float,
    key: str | None,
    hosts: list[str],
    preset: str,
) -> None:
    changes = {
        "budget_usd": budget,
        "sdk": {"api_key": key},
        "security": {"allowed_hosts": hosts},
        "workspace": Path("/somewhere/ws"),
    }
    config = load_config(env={}, preset=preset, overrides=changes)
    path = write(tmp_path_factory.mktemp("dump") / "child.json", dump_config(config))
    assert load_config(path, env={}) == config


def test_a_dump_holds_plain_json() -> None:
    assert json.loads(dump_config(LLMOSConfig()))["sdk"]["api_key"] is None


def test_every_variable_reaches_its_key() -> None:
    names = [variable_of(key) for key in all_keys()]
    assert len(set(names)) == len(names)
    assert variable_of("sdk.model") == "LLMOS_SDK__MODEL"
    assert variable_of("workspace") == "LLMOS_WORKSPACE"


def test_presets_take_nested_changes_of_a_key_they_set() -> None:
    assert LLMOSConfig.testing(kernel={"budget_usd": 3}).kernel.budget_usd == 3
    assert LLMOSConfig.testing(budget_usd=3).kernel.budget_usd == 3
    assert LLMOSConfig.production(execution_layer={"top_k": 2}).execution.top_k == 2


def test_builder_sets_what_it_names() -> None:
    config = (
        ConfigBuilder("development")
        .with_workspace("/custom")
        .with_project("p")
        .with_budget(50.0)
        .with_model("opus")
        .with_base_url("http://x")
        .with_api_key("k")
        .with_streaming(False)
        .with_llm_matching(False)
        .with_cross_project_learning(False)
        .with_sentience(False)
        .with_auto_improvement(True)
        .with_auto_crystallization(True)
        .with_strategy("cost-optimized")
        .with_sandbox("require")
        .with_hooks("a:B")
        .with_redis("redis://h:1")
        .with_qdrant("http://q", "qk")
        .with_embeddings("http://e", "m")
        .with_settings("sdk", max_turns=3)
        .build()
    )
    assert config.workspace == Path("/custom")
    assert (config.kernel.budget_usd, config.kernel.enable_watchdog) == (50, False)
    assert (config.sdk.model, config.sdk.max_turns, config.sdk.enable_streaming) == (
        "opus",
        3,
        False,
    )
    assert config.sentience.enable_auto_improvement
    assert not config.sentience.enable_sentience
    assert config.index.embeddings_model == "m"
    assert config.redis.url == "redis://h:1"


def test_builder_refuses_what_the_models_refuse() -> None:
    with pytest.raises(ConfigError, match="turns"):
        ConfigBuilder().with_settings("sdk", turns=3).build()
    with pytest.raises(ConfigError, match="unknown preset"):
        ConfigBuilder("prod")
