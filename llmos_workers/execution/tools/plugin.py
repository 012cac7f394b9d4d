"""``@llm_tool``: a Python function as a tool, its schema taken from its type hints.

    from llmos_workers import llm_tool

    @llm_tool(effect="read")
    def exchange_rate(currency: str, day: str | None = None) -> str:
        ``Rate of a currency against the euro, on a day (YYYY-MM-DD) or now.``

The function runs in the worker's own process, outside of the sandbox: it is code of whoever runs
the workers, never of a model.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints, overload

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from llmos_workers.contracts.errors import ConfigError, ToolError
from llmos_workers.contracts.tools import Effect, ToolResult, ToolSpec
from llmos_workers.execution.tools.base import ToolContext, success
from llmos_workers.execution.tools.foreign_schema import simplified

Function = Callable[..., Any]


@dataclass(frozen=True)
class FunctionTool:
    """A decorated function; still callable as itself."""

    spec: ToolSpec
    function: Function
    takes: dict[str, TypeAdapter[Any]]
    context: str = ""
    """Name of the parameter that takes the ToolContext."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself."""
        return self.function(*args, **kwargs)

    def run(self, arguments: dict[str, Any], ctx: ToolContext) -> ToolResult:
        """What the function returns, as text; a ToolResult is passed on.

        Raises ToolError for arguments that its types refuse.
        """
        given = {}
        for name, value in arguments.items():
            try:
                given[name] = self.takes[name].validate_python(value)
            except ValidationError as error:
                raise ToolError(f"{name}: {error.errors()[0]['msg']}.") from None
        if self.context:
            given[self.context] = ctx
        made = self.function(**given)
        if isinstance(made, ToolResult):
            return made
        return success(made if isinstance(made, str) else json.dumps(made, default=str))


@overload
def llm_tool(function: Function, /) -> FunctionTool: ...
@overload
def llm_tool(
    name: str | None = None,
    description: str | None = None,
    schema: dict[str, Any] | None = None,
    *,
    effect: Effect | str = Effect.EXTERNAL,
    informative: bool = True,
    destructive: bool = False,
    version: str = "1",
    defer_loading: bool | None = None,
) -> Callable[[Function], FunctionTool]: ...


def llm_tool(
    name: Function | str | None = None,
    description: str | None = None,
    schema: dict[str, Any] | None = None,
    *,
    effect: Effect | str = Effect.EXTERNAL,
    informative: bool = True,
    destructive: bool = False,
    version: str = "1",
    defer_loading: bool | None = None,
) -> FunctionTool | Callable[[Function], FunctionTool]:
    """Make a tool of a function. Name and description default to the function's own.

    ``effect``: ``read`` for functions that change nothing, ``external`` (the default) for those
    whose repetition may do harm: a call of these is never repeated blindly. Raise ``version``
    when the same call begins to do something else. Raises ConfigError for a function without a
    description, or with types that have no schema.
    """

    def make(function: Function) -> FunctionTool:
        words = description or inspect.getdoc(function)
        if not words:
            raise ConfigError(f"the tool {function.__name__} has no description.")
        takes, context = _parameters(function)
        return FunctionTool(
            ToolSpec(
                name=given or function.__name__,
                description=words,
                input_schema=schema or _schema(function, takes),
                effect=Effect(effect),
                informative=informative,
                destructive=destructive,
                implementation=version,
                defer_loading=defer_loading,
            ),
            function,
            takes,
            context,
        )

    if callable(name):
        given: str | None = None
        return make(name)
    given = name
    return make


def _parameters(function: Function) -> tuple[dict[str, TypeAdapter[Any]], str]:
    hints = get_type_hints(function, include_extras=True)
    takes, context = {}, ""
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ConfigError(f"the tool {function.__name__} takes *{parameter.name}.")
        kind = hints.get(parameter.name, Any)
        if ToolContext in (kind, *get_args(kind)):
            context = parameter.name
            continue
        try:
            takes[parameter.name] = TypeAdapter(kind)
        except PydanticUserError:
            raise ConfigError(
                f"the tool {function.__name__}: {parameter.name} has a type without a schema."
            ) from None
    return takes, context


def _schema(function: Function, takes: dict[str, TypeAdapter[Any]]) -> dict[str, Any]:
    properties, required = {}, []
    signature = inspect.signature(function).parameters
    for name, adapter in takes.items():
        part = simplified(adapter.json_schema())
        default = signature[name].default
        if isinstance(default, FieldInfo):
            raise ConfigError(f"{function.__name__}: write Annotated[..., Field()] for {name}.")
        if default is inspect.Parameter.empty:
            required.append(name)
        properties[name] = part
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
