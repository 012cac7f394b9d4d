"""Tools from elsewhere: decorated functions, signed files of the workspace, Python code."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from llmos_workers import llm_tool
from llmos_workers.contracts.errors import ConfigError, ToolError
from llmos_workers.contracts.tools import Effect, ToolCall
from llmos_workers.execution.hooks.state_rules import state_decision
from llmos_workers.execution.tools.base import ToolContext
from llmos_workers.execution.tools.foreign_schema import simplified
from llmos_workers.execution.tools.plugins import add_plugins, sign_file
from llmos_workers.execution.tools.registry import ToolRegistry
from llmos_workers.execution.tools.schema import check_schema
from llmos_workers.kernel.signing import KeyRing


class Address(BaseModel):
    city: str
    zip: str | None = None


@llm_tool(effect="read")
def label(
    to: Address,
    size: Literal["a5", "a6"],
    copies: Annotated[int, Field(ge=1, description="How many.")] = 1,
    note: str | None = None,
    ctx: ToolContext | None = None,
) -> str:
    """Print a label."""
    return f"{copies} of {size} to {to.city}{note or ''}"


def test_a_function_s_types_are_its_schema():
    schema = label.spec.input_schema
    assert check_schema(schema) == []
    assert (schema["required"], schema["additionalProperties"]) == (["to", "size"], False)
    assert schema["properties"]["to"]["properties"]["city"] == {"type": "string"}
    assert schema["properties"]["size"] == {"type": "string", "enum": ["a5", "a6"]}
    assert schema["properties"]["copies"]["minimum"] == 1
    assert schema["properties"]["note"] == {"type": "string"}
    assert (label.spec.description, label.spec.effect) == ("Print a label.", Effect.READ)


def test_it_passes_the_gate_like_any_tool(registry, make_gate, gate_context):
    registry.register(label)
    arguments = {"to": {"city": "Rom"}, "size": "a5", "copies": 2}
    context = gate_context(grants=frozenset({"label"}))
    done = make_gate().call(ToolCall(name="label", arguments=arguments), context)
    assert (done.ok, done.output) == (True, "2 of a5 to Rom")
    wrong = make_gate().call(ToolCall(name="label", arguments=arguments | {"size": "a4"}), context)
    assert wrong.denied_by == "schema"
    assert make_gate().call(
        ToolCall(name="label", arguments=arguments), gate_context()
    ).denied_by == ("grant")


def test_a_function_that_may_do_anything_is_external_unless_it_says_otherwise():
    @llm_tool
    def push(text: str) -> str:
        """Push."""
        return text

    assert (push.spec.effect, push("x")) == (Effect.EXTERNAL, "x")


def test_what_cannot_be_a_tool_is_refused():
    with pytest.raises(ConfigError, match="no description"):
        llm_tool(lambda: "")
    with pytest.raises(ConfigError, match="takes"):

        @llm_tool
        def many(*args: str) -> str:
            """Many."""
            return ""

    for name in ("search_tools", "run_sequence", "a b", ""):
        with pytest.raises(ConfigError, match="cannot be the name"):
            ToolRegistry([llm_tool(name or "ü", "d")(lambda: "")])


def test_arguments_that_only_the_types_refuse_are_a_tool_error(tool_context):
    @llm_tool
    def even(n: Annotated[int, Field(multiple_of=2)]) -> str:
        """Even."""
        return str(n)

    with pytest.raises(ToolError, match="multiple of 2"):
        even.run({"n": 3}, tool_context)


def test_schemas_of_others_lose_what_is_not_enforced_and_keep_the_rest():
    made = simplified(
        {
            "$schema": "x",
            "type": "object",
            "$defs": {"P": {"type": "object", "properties": {"x": {"type": "number"}}}},
            "properties": {
                "p": {"$ref": "#/$defs/P"},
                "q": {"anyOf": [{"type": "string"}, {"type": "integer"}], "description": "either"},
                "r": {"type": ["string", "null"], "pattern": "^a", "maxLength": 3},
                "s": {"type": "array", "items": {"const": "k"}, "uniqueItems": True},
            },
            "required": ["p"],
        }
    )
    assert check_schema(made) == []
    assert made["properties"] == {
        "p": {"type": "object", "properties": {"x": {"type": "number"}}},
        "q": {"description": "either"},
        "r": {"type": "string", "maxLength": 3},
        "s": {"type": "array", "items": {"enum": ["k"]}},
    }


FILE = '''
from llmos_workers import llm_tool

@llm_tool(effect="read")
def from_the_workspace(n: int) -> str:
    """One more."""
    return str(n + 1)
'''


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "mine.py").write_text(FILE)
    return tmp_path / "tools"


def loaded(folder, keys, allowed="signed") -> bool:
    registry = ToolRegistry()
    add_plugins(registry, folder, keys, workspace_tools=allowed)
    return "from_the_workspace" in registry.names()


def test_a_file_of_the_workspace_is_loaded_as_it_was_signed(folder, tmp_path, caplog):
    keys = KeyRing(tmp_path / "keys")
    assert not loaded(folder, keys)
    assert "is not signed" in caplog.text
    sign_file(folder / "mine.py", keys)
    assert loaded(folder, keys)
    (folder / "mine.py").write_text(FILE + "\nprint()\n")
    assert not loaded(folder, keys)
    assert "is not what was signed" in caplog.text
    sign_file(folder / "mine.py", KeyRing(tmp_path / "other"))
    assert not loaded(folder, keys)


def test_a_signature_holds_for_its_own_file_only(folder, tmp_path):
    keys = KeyRing(tmp_path / "keys")
    signature = sign_file(folder / "mine.py", keys)
    (folder / "mine.py").rename(folder / "yours.py")
    signature.rename(folder / "yours.py.sig")
    assert not loaded(folder, keys)


def test_the_settings_allow_all_or_none(folder, tmp_path):
    keys = KeyRing(tmp_path / "keys")
    assert loaded(folder, keys, "on")
    sign_file(folder / "mine.py", keys)
    assert not loaded(folder, keys, "off")


def test_a_file_that_cannot_be_loaded_leaves_the_others(folder, tmp_path, caplog):
    (folder / "bad.py").write_text("raise RuntimeError('no')\n")
    assert loaded(folder, KeyRing(tmp_path / "keys"), "on")
    assert "bad.py are not loaded" in caplog.text


# --- Python ----------------------------------------------------------------------------------


def python(make_gate, gate_context, code: str, **changes):
    context = gate_context(grants=frozenset({"Python"}), **changes)
    return make_gate().call(ToolCall(name="Python", arguments={"code": code}), context)


def test_python_runs_in_the_sandbox_and_its_effects_are_seen(make_gate, gate_context, area):
    (area / "in.txt").write_text("7")
    code = "n = int(open('in.txt').read()); open('out.txt', 'w').write(str(n * 6)); print(n)"
    result = python(make_gate, gate_context, code)
    assert (result.ok, result.output.strip(), (area / "out.txt").read_text()) == (True, "7", "42")
    assert [file.path for file in result.reads] == ["in.txt"]
    assert [file.path for file in result.writes] == ["out.txt"]


def test_python_cannot_leave_the_project(make_gate, gate_context, tmp_path):
    result = python(make_gate, gate_context, f"open({str(tmp_path / 'x')!r}, 'w')")
    assert not result.ok
    assert "PermissionError" in result.output
    assert not (tmp_path / "x").exists()
    assert not python(make_gate, gate_context, "import socket; socket.socket()").ok


def test_python_is_as_serious_as_a_shell_command(registry):
    from llmos_workers.contracts.state import CognitivePolicy

    policy = CognitivePolicy(require_confirmation_for_shell=True)
    call = ToolCall(name="Python", arguments={"code": "1"})
    assert state_decision(call, registry.get("Python").spec, policy).rule == "state:shell"
