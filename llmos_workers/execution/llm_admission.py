"""Before a model call: does it fit the endpoint's rate limits, and the money that is left?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from llmos_workers.contracts.errors import BudgetExceeded, RateLimited
from llmos_workers.contracts.outcome import Usage
from llmos_workers.execution.llm_contracts import CallContext, ModelRequest
from llmos_workers.kernel.economy import TokenEconomy
from llmos_workers.kernel.rates import ModelRates

FEWEST_TOKENS = 512
"""A response bounded lower than this would be cut off before it says anything of use."""


@dataclass(frozen=True)
class Admitted:
    """A call that may be sent. ``input_bound`` and ``max_tokens`` were taken from the buckets."""

    reservation: str
    model: str
    input_bound: int
    max_tokens: int


class Admission:
    """Asks the shared rate buckets, then reserves the money."""

    def __init__(
        self, economy: TokenEconomy, rates: ModelRates | None = None, *, on_breach: str = "fail"
    ) -> None:
        """``rates`` None: no limits are known. ``on_breach``: kernel.on_breach."""
        self._economy = economy
        self._rates = rates
        self._shrinks = on_breach != "fail"

    def admit(self, request: ModelRequest, body: dict[str, Any], ctx: CallContext) -> Admitted:
        """Reserve the call's upper bound; may lower ``body["max_tokens"]`` to what still fits.

        Raises RateLimited (nothing is held; it says when to come again), BudgetExceeded,
        LeaseLost.
        """
        text = json.dumps(body, ensure_ascii=False)
        size = len(text.encode("utf-8", "surrogatepass"))
        hourly = '"ttl": "1h"' in text
        self._ask_rates(body["model"], size, request.max_tokens)
        try:
            reservation = self._reserve(request, body, ctx, size, hourly=hourly)
        except BaseException:
            self.give_back(Admitted("", body["model"], size, request.max_tokens))
            raise
        return Admitted(reservation, body["model"], size, request.max_tokens)

    def _ask_rates(self, model: str, input_bound: int, max_tokens: int) -> None:
        if self._rates is None:
            return
        wait_s = self._rates.acquire(model, input_bound, max_tokens)
        if wait_s > 0:
            raise RateLimited(
                f"the limits for {model} leave no room for {wait_s:.1f} s.", retry_after=wait_s
            )

    def _reserve(
        self,
        request: ModelRequest,
        body: dict[str, Any],
        ctx: CallContext,
        size: int,
        *,
        hourly: bool,
    ) -> str:
        try:
            return self._try(request.purpose, body, ctx, size, hourly=hourly)
        except BudgetExceeded:
            fits = self._fitting(body, ctx, size, hourly=hourly)
            if fits is None or fits < min(FEWEST_TOKENS, request.max_tokens):
                raise
            body["max_tokens"] = min(fits, request.max_tokens)
            return self._try(request.purpose, body, ctx, size, hourly=hourly)

    def _fitting(
        self, body: dict[str, Any], ctx: CallContext, size: int, *, hourly: bool
    ) -> int | None:
        if not self._shrinks:
            return None
        return self._economy.affordable_max_tokens(
            body["model"],
            size,
            project=ctx.project,
            goal_id=ctx.goal_id,
            goal_budget_micro=ctx.goal_budget_micro,
            cache_1h=hourly,
        )

    def _try(
        self, purpose: str, body: dict[str, Any], ctx: CallContext, size: int, *, hourly: bool
    ) -> str:
        bound = self._economy.prices.bound(body["model"], size, body["max_tokens"], cache_1h=hourly)
        return self._economy.reserve(
            goal_id=ctx.goal_id,
            project=ctx.project,
            model=body["model"],
            bound_micro=bound,
            purpose=purpose,
            fence=ctx.lease.fence if ctx.lease is not None else None,
            goal_budget_micro=ctx.goal_budget_micro,
        )

    def answered(self, call: Admitted, usage: Usage) -> None:
        """The tokens that were really used; the rest goes back to the buckets."""
        if self._rates is not None:
            self._rates.settle(
                call.model,
                input_tokens=usage.prompt_tokens - call.input_bound,
                output_tokens=usage.output_tokens - call.max_tokens,
            )

    def give_back(self, call: Admitted) -> None:
        """Nothing was used."""
        self.answered(call, Usage())

    def refused(self, model: str, error: RateLimited) -> None:
        """A 429 or 529: nobody in the fleet calls the model for a while."""
        if self._rates is not None:
            self._rates.cool_down(model, error.retry_after)
