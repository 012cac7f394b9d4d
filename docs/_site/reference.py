"""Pages of the reference that are made from the code: Python, errors, goal states.

``python docs/_site/reference.py`` writes them, ``--check`` names those that are not current and
ends with 1.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import FunctionType, GenericAlias
from typing import Any

from states_svg import states_svg

from llmos_cli.exits import MEANING
from llmos_workers.contracts import errors
from llmos_workers.contracts.goal import FINAL_STATES, WAITING_STATES, GoalState

DOCS = Path(__file__).parents[1]
WIDE = 88
MADE = "<!-- made by docs/_site/reference.py from the code; do not edit -->\n"

PYTHON = """What the package offers to programs. `from llmos_workers import` the names in this list;
importing `LLMOS` and submitting a goal loads neither Celery nor the model's SDK. All that is
returned is an immutable pydantic model ([below](#what-comes-back)). Errors are listed in
[errors](errors.md), settings in [configuration](configuration.md); how to use it all is told in
[enqueue from your app](howto/app.md).
"""
CLASSES = (
    ("llmos_workers", "LLMOS"),
    ("llmos_workers", "GoalHandle"),
    ("llmos_workers", "tools"),
    ("llmos_workers", "llm_tool"),
    ("llmos_workers", "ConfigBuilder"),
    ("llmos_workers.execution.hooks.base", "Hook"),
    ("llmos_workers.kernel.events", "EventBus"),
)
"""What programs call: module that it is imported from, and name."""

MODELS = (
    ("outcome", "Outcome"),
    ("outcome", "ErrorInfo"),
    ("outcome", "FileDigest"),
    ("outcome", "ToolCallSummary"),
    ("outcome", "Usage"),
    ("plan", "PlanView"),
    ("goal", "GoalRecord"),
    ("goal", "GoalOptions"),
    ("decision", "ModeDecision"),
    ("decision", "MatchCandidate"),
    ("events", "GoalEvent"),
    ("events", "GoalEventKind"),
    ("events", "Topic"),
    ("approvals", "Approval"),
    ("approvals", "ApprovalState"),
    ("feedback", "Feedback"),
    ("feedback", "Verdict"),
    ("modes", "Mode"),
)
"""What comes back: module of llmos_workers.contracts, and name."""


COMES_BACK = """## What comes back

In `llmos_workers.contracts`. Amounts of money are whole micro-dollars ($0.000001), times Unix
seconds unless a field says otherwise.
"""


def python_page() -> str:
    """Names, signatures and docstrings of what programs use."""
    parts = ["# Python\n", MADE, PYTHON]
    for module, name in CLASSES:
        parts += _callable_section(module, name, getattr(import_module(module), name))
    parts.append(COMES_BACK)
    for module, name in MODELS:
        parts += _model_section(getattr(import_module(f"llmos_workers.contracts.{module}"), name))
    return "\n".join(parts)


def errors_page() -> str:
    """The hierarchy of errors with exit codes."""
    rows = []
    for error, depth in _tree(errors.LLMOSError):
        indent = "&nbsp;" * 4 * depth
        rows.append(f"| {indent}`{error.__name__}` | {error.exit_code} | {_line(error)} |")
    codes = [f"| {int(code)} | {meaning} |" for code, meaning in MEANING.items()]
    return f"""# Errors and exit codes

{MADE}
All that llmos raises on purpose derives from `LLMOSError` (`llmos_workers.contracts.errors`): it
has a `message`, a `fix` (what to do about it, one sentence), and an `exit_code`, which the command
line returns for it. A goal that did not succeed raises nothing: its outcome's `error.kind` is the
name of the class.

## Classes

| error | exit code | when |
|---|---|---|
{chr(10).join(rows)}

## Exit codes

| code | meaning |
|---|---|
{chr(10).join(codes)}

For several goals the worst code counts; see [command line](cli.md#output-errors-exit-codes).
"""


def states_page() -> str:
    """The states of a goal and what may follow what."""
    told = _attribute_docs(GoalState)
    kinds = {**dict.fromkeys(WAITING_STATES, "waits"), **dict.fromkeys(FINAL_STATES, "final")}
    rows = [
        f"| `{state}` | {kinds.get(state, 'under way')} | {told[state.name]} |"
        for state in GoalState
    ]
    return f"""# Goal states

{MADE}
A goal is in exactly one of these, on record in Redis, and every change is checked against the
table that this page is made from (`TRANSITIONS` in `llmos_workers/contracts/goal.py`). Whoever
waits holds no worker. Nothing follows a final state.

![States of a goal and what may follow what](states.svg)

| state | kind | meaning |
|---|---|---|
{chr(10).join(rows)}

`DISPATCHED` and `RUNNING` may follow themselves: a message that was delivered again is decided
again, and a new lease takes over from a run that died. See
[waiting, dying, going on](../ARCHITECTURE.md#waiting-dying-going-on).
"""


def _callable_section(module: str, name: str, thing: Any) -> list[str]:
    head = [f"## {name}\n", f"`from {module} import {name}`\n"]
    if isinstance(thing, FunctionType):
        return [*head, _code(name, thing), _text(thing)]
    kind = thing if isinstance(thing, type) else type(thing)
    parts = [*head, _text(kind)]
    maker = vars(kind).get("__init__")
    if maker and isinstance(thing, type):
        parts.append(_code(kind.__name__, maker))
    for method, member in _public(kind):
        parts.append(f"### {name}.{method}\n")
        if isinstance(member, FunctionType):
            parts.append(_code(method, member))
        parts.append(_text(getattr(member, "func", None) or getattr(member, "fget", member)))
    return parts


def _public(kind: type) -> Iterator[tuple[str, Any]]:
    """Own and inherited members that users see, in the order of the source, each once."""
    seen: set[str] = set()
    for owner in kind.__mro__:
        if not owner.__module__.startswith("llmos_workers"):
            continue
        for name, member in vars(owner).items():
            thing = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            documented = (
                inspect.getdoc(thing) if callable(thing) or hasattr(thing, "__get__") else None
            )
            if name.startswith("_") or name in seen or not documented:
                continue
            seen.add(name)
            yield name, thing


def _model_section(model: Any) -> list[str]:
    told = _attribute_docs(model)
    parts = [f"### {model.__name__}\n", _text(model)]
    if not hasattr(model, "model_fields"):
        rows = [f"| `{each.value}` | {told.get(each.name, '')} |" for each in model]
        return [*parts, "\n".join(["| value | meaning |", "|---|---|", *rows]) + "\n"]
    rows = []
    for name, info in model.model_fields.items():
        kind = model.__annotations__[name].replace("|", "\\|")
        value = info.get_default(call_default_factory=True)
        default = "required" if info.is_required() else f"`{value!r}`"
        rows.append(f"| `{name}` | `{kind}` | {default} | {told.get(name, '')} |")
    for name, member in vars(model).items():
        if isinstance(member, property) and member.fget and not name.startswith("_"):
            kind = inspect.signature(member.fget).return_annotation.replace("|", "\\|")
            rows.append(f"| `{name}` | `{kind}` | computed | {_line(member.fget)} |")
    head = ["| field | type | default | meaning |", "|---|---|---|---|"]
    return [*parts, "\n".join([*head, *rows]) + "\n"]


def _code(name: str, function: Any) -> str:
    """The signature as it is written, without ``self``; one parameter a line when it is long."""
    signature = inspect.signature(function)
    shown = [
        parameter.replace(annotation=_Plain(parameter.annotation))
        for parameter in signature.parameters.values()
        if parameter.name not in ("self", "cls")
    ]
    end = signature.return_annotation
    names = vars(sys.modules[function.__module__])
    if isinstance(names.get(end), GenericAlias):  # list[...] under a name of its own
        end = re.sub(r"(?:\w+\.)+(\w+)", r"\1", repr(names[end])).replace("ForwardRef", "")
        end = end.replace("('", "").replace("')", "").replace("'", "")
    result = "" if end in ("None", inspect.Signature.empty) else f" -> {end}"
    text = f"{name}{signature.replace(parameters=shown, return_annotation=signature.empty)}"
    if len(text + result) > WIDE:
        text = _folded(name, shown)
    word = "async " if inspect.iscoroutinefunction(function) else ""
    return f"```python\n{word}{text}{result}\n```\n"


def _folded(name: str, parameters: list[inspect.Parameter]) -> str:
    lines: list[str] = []
    kinds = [parameter.kind for parameter in parameters]
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and "    *," not in lines:
            lines += [] if parameter.VAR_POSITIONAL in kinds else ["    *,"]
        lines.append(f"    {parameter},")
    return "\n".join([f"{name}(", *lines, ")"])


class _Plain(str):
    """An annotation that shows as it was written, without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _text(thing: Any) -> str:
    """A docstring as Markdown."""
    text = inspect.getdoc(thing) or ""
    paragraphs = text.replace("``", "`").split("\n\n")
    return "\n\n".join(
        part if part.startswith((" ", "-")) else " ".join(part.split()) for part in paragraphs
    ) + "\n"  # fmt: skip


def _line(thing: Any) -> str:
    return " ".join(_text(thing).split()).replace("|", "\\|")


def _tree(
    error: type[errors.LLMOSError], depth: int = 0
) -> Iterator[tuple[type[errors.LLMOSError], int]]:
    """Each error after its base, in the order of the source."""
    yield error, depth
    for below in error.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from _tree(below, depth + 1)


def _attribute_docs(owner: type) -> dict[str, str]:
    """Name -> the text literal below it, from the source of the class."""
    (body,) = (
        node.body
        for node in ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        if isinstance(node, ast.ClassDef)
    )
    found = {}
    for field, doc in pairwise(body):
        if not isinstance(doc, ast.Expr) or not isinstance(doc.value, ast.Constant):
            continue
        targets = field.targets if isinstance(field, ast.Assign) else []
        targets = [field.target] if isinstance(field, ast.AnnAssign) else targets
        text = " ".join(str(doc.value.value).split()).replace("``", "`").replace("|", "\\|")
        found.update({target.id: text for target in targets if isinstance(target, ast.Name)})
    return found


PAGES = {
    "python.md": python_page,
    "errors.md": errors_page,
    "states.md": states_page,
    "states.svg": states_svg,
}


def main(arguments: list[str]) -> int:
    """Write the pages, or say which are not current."""
    made = {DOCS / name: make() for name, make in PAGES.items()}
    stale = [
        path for path, text in made.items() if not path.is_file() or path.read_text("utf-8") != text
    ]
    if arguments == ["--check"]:
        sys.stdout.write("".join(f"{path.name}\n" for path in stale))
        return 1 if stale else 0
    for path in stale:
        path.write_text(made[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
