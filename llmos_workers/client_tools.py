"""Generated tools as Python functions: ``llmos_workers.tools.copy(file="a.csv", file_2="b.csv")``.

A call submits the tool's goal with these values, in mode CRYSTALLIZED, and waits for its outcome:
it runs in a worker, behind the gate, like any other goal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmos_workers.client import LLMOS
from llmos_workers.contracts.errors import InvalidOption
from llmos_workers.contracts.generated import GeneratedTool
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import Outcome


class Tools:
    """The generated tools in use. Each is found when it is asked for, by its name."""

    def __init__(self, client: LLMOS | None = None) -> None:
        """``client`` submits the goals; by default one of this process's own settings."""
        self._client = client

    def on(self, client: LLMOS) -> Tools:
        """The same tools, by way of another client."""
        return Tools(client)

    def __getattr__(self, name: str) -> Callable[..., Outcome]:
        """The tool of that name. Raises AttributeError when there is none in use."""
        if name.startswith("_"):
            raise AttributeError(name)
        record = self._records().get(name)
        if record is None:
            raise AttributeError(f"no generated tool {name!r} is in use; see llmos tools generated")

        def run(*, timeout: float | None = None, **values: str | int) -> Outcome:
            client = self._own()
            handle = client.submit(
                goal_of(record, values), project=record.project, mode=Mode.CRYSTALLIZED.value
            )
            return handle.result(timeout)

        run.__name__ = run.__qualname__ = name
        run.__doc__ = f"{record.goal}\n\nRaises InvalidOption, and what submitting raises."
        return run

    def __dir__(self) -> list[str]:
        """Names of the tools in use."""
        return sorted({*super().__dir__(), *self._records()})

    def _own(self) -> LLMOS:
        if self._client is None:
            self._client = LLMOS()
        return self._client

    def _records(self) -> dict[str, GeneratedTool]:
        from llmos_workers.flow.crystal_shelf import IN_USE, shelf
        from llmos_workers.runtime import Runtime

        client = self._own()
        runtime = Runtime(client.config, redis=client.redis, traces=client.trace_manager)
        found = (tool.record for tool in shelf(runtime) if tool.state == IN_USE)
        return {record.name: record for record in found if record is not None}


def goal_of(record: GeneratedTool, values: dict[str, str | int]) -> str:
    """The tool's goal with these values; those not named stay as they were learned.

    Raises InvalidOption for a value that it has no parameter for, or of another type.
    """
    own = {each.name: each for each in record.parameters if each.form == 0}
    for name, value in values.items():
        if name not in own:
            known = ", ".join(own) or "none"
            raise InvalidOption(
                f"{record.name} has no parameter {name!r}.", fix=f"It has: {known}."
            )
        right = int if own[name].type == "int" else str
        if type(value) is not right:
            raise InvalidOption(f"{record.name}: {name} is {right.__name__}.")
    text = record.template or record.goal
    for name, each in own.items():
        text = text.replace(f"{{{each.slot}}}", str(values.get(name, each.value)))
    return text


tools = Tools()
"""By way of this process's own settings."""


def __getattr__(name: str) -> Any:
    return getattr(tools, name)
