"""Calling a judge: one metered request with structured output, by either backend.

``anthropic`` goes the way of all model calls. ``openai`` speaks to an OpenAI-compatible endpoint
(llama.cpp, vLLM, ...), reserved, settled and journaled in the same ledger.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from llmos_workers.config import LLMOSConfig
from llmos_workers.config_learning import JudgeConfig
from llmos_workers.contracts.errors import ModelTransient, ModelUnauthorized, RateLimited
from llmos_workers.contracts.outcome import Usage
from llmos_workers.execution.llm import ModelGateway
from llmos_workers.execution.llm_contracts import (
    JUDGE_KIND,
    CallContext,
    ModelRequest,
    ModelResponse,
    journal_entry,
)
from llmos_workers.kernel.economy import TokenEconomy

PURPOSE = "judge"
DEFAULT_MODEL = "haiku"
WHOLE = frozenset({"end_turn", "stop_sequence", "stop"})
"""Stop reasons of an answer that the model ended by itself."""


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """One question to a judge."""

    system: str
    text: str
    schema: dict[str, Any]
    vote: int = 0
    """Which vote of the goal it is, for the journal."""


class Judge(Protocol):
    """Whoever answers questions about wordings."""

    @property
    def name(self) -> str:
        """Backend and model; its record is kept under it."""
        ...

    def ask(self, request: JudgeRequest, ctx: CallContext) -> ModelResponse:
        """One answer, paid and journaled. Raises ModelError, BudgetExceeded and what ends a run."""
        ...


class _Refused(ModelTransient):
    """The endpoint did nothing, for sure."""


def judge_model(config: LLMOSConfig) -> str:
    """Which model judges: an own endpoint of sdk.base_url need not know Anthropic's."""
    if config.judge.model:
        return config.judge.model
    return DEFAULT_MODEL if config.sdk.base_url is None else config.sdk.model


def may_judge(config: LLMOSConfig) -> bool:
    """Whether a judge is asked at all."""
    switched_on = config.memory.enable_llm_matching and config.judge.backend != "none"
    return switched_on and config.dispatcher.llm_allowed


def make_judge(
    config: LLMOSConfig, economy: TokenEconomy, gateway: Callable[[], ModelGateway]
) -> Judge | None:
    """The configured judge, None without one. ``gateway`` is asked only for backend anthropic."""
    if not may_judge(config):
        return None
    if config.judge.backend == "openai":
        return OpenAIJudge(config.judge, economy)
    model = economy.prices.resolve(judge_model(config))
    return GatewayJudge(gateway(), model, config.judge.max_tokens)


class GatewayJudge:
    """A model behind the Messages API."""

    def __init__(self, gateway: ModelGateway, model: str, max_tokens: int) -> None:
        self._gateway, self._model, self._max_tokens = gateway, model, max_tokens

    @property
    def name(self) -> str:
        """``anthropic/<model id>``."""
        return f"anthropic/{self._model}"

    def ask(self, request: JudgeRequest, ctx: CallContext) -> ModelResponse:
        """See Judge."""
        return self._gateway.complete(
            ModelRequest(
                model=self._model,
                system=[{"type": "text", "text": request.system}],
                messages=[{"role": "user", "content": [{"type": "text", "text": request.text}]}],
                max_tokens=self._max_tokens,
                purpose=PURPOSE,
                output_schema=request.schema,
                turn=request.vote,
                journal_kind=JUDGE_KIND,
            ),
            ctx,
        )


class OpenAIJudge:
    """A model behind an OpenAI-compatible endpoint. Its price is that of the price file, or
    nothing: the endpoint is the user's own.
    """

    def __init__(self, config: JudgeConfig, economy: TokenEconomy) -> None:
        self._config, self._economy = config, economy
        self._model, self._url = config.model or "", (config.base_url or "").rstrip("/")

    @property
    def name(self) -> str:
        """``openai/<model>``."""
        return f"openai/{self._model}"

    def ask(self, request: JudgeRequest, ctx: CallContext) -> ModelResponse:
        """See Judge. A fault after sending leaves the reservation in doubt."""
        data = json.dumps(self._body(request)).encode()
        economy, prices = self._economy, self._economy.prices
        reservation = economy.reserve(
            goal_id=ctx.goal_id,
            project=ctx.project,
            model=self._model,
            bound_micro=prices.bound(self._model, len(data), self._config.max_tokens),
            purpose=PURPOSE,
            fence=ctx.lease.fence if ctx.lease else None,
            goal_budget_micro=ctx.goal_budget_micro,
        )
        economy.mark_sent(reservation)
        try:
            answer = self._post(data)
            message = ModelResponse(
                content=[{"type": "text", "text": answer["choices"][0]["message"]["content"]}],
                stop_reason=str(answer["choices"][0].get("finish_reason")),
                usage=_usage(answer),
                cost_micro=0,
                model=self._model,
            )
        except (_Refused, RateLimited, ModelUnauthorized):
            economy.settle(reservation, usage=Usage())  # it did nothing
            raise
        except (KeyError, IndexError, TypeError, ValueError) as error:
            economy.in_doubt(reservation)
            raise ModelTransient(f"the judge at {self._url} gave no answer: {error!r}.") from error
        except BaseException:
            economy.in_doubt(reservation)
            raise
        cost = prices.cost(self._model, message.usage)
        message = message.model_copy(update={"cost_micro": cost})
        entry = journal_entry(message, request.vote, JUDGE_KIND) if ctx.lease else None
        economy.settle(reservation, usage=message.usage, journal=entry, lease=ctx.lease)
        return message

    def _body(self, request: JudgeRequest) -> dict[str, Any]:
        return {
            "model": self._model,
            "messages": [
                {"role": "system", "content": request.system},
                {"role": "user", "content": request.text},
            ],
            "max_tokens": self._config.max_tokens,
            "temperature": 0,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "verdict", "strict": True, "schema": request.schema},
            },
        }

    def _post(self, data: bytes) -> dict[str, Any]:
        import httpx2

        key = self._config.api_key.get_secret_value() if self._config.api_key else ""
        headers = {"content-type": "application/json"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        try:
            answer = httpx2.post(
                f"{self._url}/chat/completions",
                content=data,
                headers=headers,
                timeout=self._config.timeout_secs,
            )
        except httpx2.ConnectError as error:
            raise _Refused(f"the judge at {self._url} cannot be reached: {error}.") from error
        except httpx2.HTTPError as error:
            raise ModelTransient(f"the judge at {self._url} does not answer: {error}.") from error
        if answer.status_code == 429:
            raise RateLimited(f"the judge at {self._url} has no room.", retry_after=None)
        if answer.status_code in (401, 403):
            raise ModelUnauthorized(
                f"the judge at {self._url} refused the key.", fix="Check judge.api_key."
            )
        if answer.status_code >= 400:
            raise _Refused(f"the judge at {self._url} answered {answer.status_code}.")
        found: dict[str, Any] = answer.json()
        return found


def _usage(answer: dict[str, Any]) -> Usage:
    told = answer.get("usage") or {}
    return Usage(
        input_tokens=int(told.get("prompt_tokens") or 0),
        output_tokens=int(told.get("completion_tokens") or 0),
    )
