"""A run's journal: what it bought and what it did, so that a successor does neither again.

Model responses are appended by the settlement of their money (see llm.py); tool results here.
A call that may have outside effects writes its intent first: intent without a result is a call
in doubt, which is never repeated blindly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from llmos_workers.contracts.errors import CodecError, NewerFormat
from llmos_workers.contracts.tools import ToolCall, ToolResult
from llmos_workers.contracts.trace import TraceStep
from llmos_workers.execution.llm_contracts import (
    JOURNAL_KIND,
    JUDGE_KIND,
    PLAN_KIND,
    ModelResponse,
    read_journal_entry,
)
from llmos_workers.kernel import codec

TOOL_KIND = "tool"
DONE_KIND = "done"
INTENT_KIND = "intent"
VOID_KIND = "void"
TOLD_KIND = "told"
KINDS = frozenset({TOOL_KIND, DONE_KIND, INTENT_KIND, VOID_KIND, TOLD_KIND})
VERSION = 1

Append = Callable[[bytes], object]


class RunJournal:
    """The entries that earlier runs of a goal left, and where this run appends its own.

    ``append`` raises LeaseLost once another run has taken over. Calls are known by the turn
    that made them, the model's id of the call, and a digest of tool and arguments.
    """

    def __init__(
        self,
        entries: Iterable[bytes] = (),
        append: Append = lambda _entry: None,
        *,
        effects_gone: bool = False,
    ) -> None:
        """``effects_gone``: the files that earlier calls made are lost, so that finished calls
        have to run again; what was bought stays bought, and what was done outside stays done.
        Raises CodecError for entries that cannot be read, NewerFormat for those of another release.
        """
        self._append = append
        self._effects_gone = effects_gone
        self._responses: dict[int, ModelResponse] = {}
        self._results: dict[str, ToolResult] = {}
        self._intents: set[str] = set()
        self.done: tuple[TraceStep, ...] = ()
        """Steps that a replay of this goal took before it handed over."""
        self.told: tuple[str, ...] = ()
        """Digests of what hooks told the model before its first call."""
        for entry in entries:
            self._read(entry)

    def _read(self, entry: bytes) -> None:
        data = codec.unpack(entry)
        kind = data.get("kind") if isinstance(data, dict) else None
        if kind == JOURNAL_KIND:
            if (response := read_journal_entry(entry)) is not None:
                self._responses[response[0]] = response[1]
            return
        if kind in (JUDGE_KIND, PLAN_KIND):
            return  # whoever asked reads it
        version = data.get("v") if isinstance(data, dict) else None
        if not isinstance(kind, str) or not isinstance(version, int):
            raise CodecError("a journal entry has no kind and version.")
        if kind not in KINDS or version != VERSION:
            raise NewerFormat(f"a journal entry of kind {kind!r}", version, VERSION)
        if kind == TOLD_KIND:
            self.told = tuple(data["digests"])
            return
        if self._effects_gone and not data.get("outside"):
            return
        if kind == DONE_KIND:
            self.done = tuple(TraceStep.model_validate(step) for step in data["steps"])
        elif kind == INTENT_KIND:
            self._intents.add(data["call"])
        elif kind == VOID_KIND:
            self._intents.discard(data["call"])
        else:
            self._results[data["call"]] = ToolResult.model_validate(data["result"])

    @property
    def turns(self) -> int:
        """How many model responses are journaled."""
        return len(self._responses)

    def tell(self, digests: tuple[str, ...]) -> None:
        """Write what hooks told the model before its first call. Raises LeaseLost, GoalFinished."""
        self._write({"kind": TOLD_KIND, "digests": list(digests)})
        self.told = digests

    def response(self, turn: int) -> ModelResponse | None:
        """The response bought for ``turn``, or None."""
        return self._responses.get(turn)

    def result(self, turn: int, call: ToolCall) -> ToolResult | None:
        """The result of exactly this call when it finished, or None."""
        return self._results.get(_key(turn, call))

    def in_doubt(self, turn: int, call: ToolCall) -> bool:
        """Whether the call was begun and no one knows how it ended."""
        key = _key(turn, call)
        return key in self._intents and key not in self._results

    def intend(self, turn: int, call: ToolCall, *, outside: bool = False) -> None:
        """Write that the call is about to begin. ``outside``: it may have effects that no stage
        holds. Raises LeaseLost, GoalFinished.
        """
        key = _key(turn, call)
        self._write({"kind": INTENT_KIND, "call": key, "outside": outside})
        self._intents.add(key)

    def void(self, turn: int, call: ToolCall) -> None:
        """Write that a call that was announced did not begin. Raises LeaseLost, GoalFinished."""
        key = _key(turn, call)
        self._write({"kind": VOID_KIND, "call": key, "outside": True})
        self._intents.discard(key)

    def finish(
        self, turn: int, call: ToolCall, result: ToolResult, *, outside: bool = False
    ) -> None:
        """Write how the call ended. ``outside`` as in ``intend``. Raises LeaseLost,
        GoalFinished.
        """
        key, dumped = _key(turn, call), result.model_dump(mode="json")
        self._write({"kind": TOOL_KIND, "call": key, "result": dumped, "outside": outside})
        self._results[key] = result

    def _write(self, entry: dict[str, Any]) -> None:
        self._append(codec.pack({"v": VERSION, **entry}))


def done_entry(steps: Iterable[TraceStep]) -> bytes:
    """What a replay writes when it hands over to a model."""
    dumped = [step.model_dump(mode="json") for step in steps]
    return codec.pack({"v": VERSION, "kind": DONE_KIND, "steps": dumped})


def _key(turn: int, call: ToolCall) -> str:
    return f"{turn}/{call.call_id}/{call.digest()}"
