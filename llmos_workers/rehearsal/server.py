"""The HTTP server: requests in, scripted answers, counts and faults out."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, Self

from llmos_workers.contracts.outcome import Usage
from llmos_workers.rehearsal.brain import Brain
from llmos_workers.rehearsal.faults import Faults
from llmos_workers.rehearsal.handler import Handler, HTTPServer, usage_of
from llmos_workers.rehearsal.log import ServedLog
from llmos_workers.rehearsal.protocol import PromptCache
from llmos_workers.rehearsal.skills import Family, load_families

__all__ = ["PriceTable", "RehearsalServer", "usage_of"]


class PriceTable(Protocol):
    """What the server charges by; ``llmos_workers.kernel.prices.Prices`` is one."""

    def cost(self, model: str, usage: Usage) -> int:
        """Micro-dollars of one call. Raises UnknownModel."""
        ...


class RehearsalServer:
    """A scripted stand-in for the Messages API on loopback. It is not a language model.

    ``skills`` is a folder of family files to use instead of the shipped ones; ``prices`` a
    price table (default: the shipped one of llmos); ``fault_rates`` maps faults to
    probabilities for chaos runs, drawn from ``seed``; ``judge_error`` is the share of pairs of
    goals that it judges wrongly.
    """

    def __init__(
        self,
        port: int = 0,
        skills: Path | None = None,
        log_path: Path | None = None,
        api_key: str | None = None,
        *,
        host: str = "127.0.0.1",
        prices: PriceTable | None = None,
        fault_rates: Mapping[str, float] | None = None,
        seed: int = 0,
        control_file: Path | None = None,
        judge_error: float = 0.0,
    ) -> None:
        self._families = load_families(skills)
        self.brain = Brain(self._families, judge_error=judge_error)
        self.log = ServedLog(log_path)
        self.faults = Faults(rates=fault_rates, seed=seed, control_file=control_file)
        self.prices = prices if prices is not None else _shipped_prices()
        self.api_key = api_key
        self.cache = PromptCache()
        self.cache_lock = threading.Lock()
        self.stopping = threading.Event()
        self._http = HTTPServer((host, port), Handler)
        self._http.owner = self
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Base URL, e.g. ``http://127.0.0.1:43210``."""
        host, port = self._http.server_address[:2]
        return f"http://{host!s}:{port}"

    def families(self) -> list[Family]:
        """The job families it knows."""
        return list(self._families)

    def start(self) -> Self:
        """Serve in a background thread; returns at once, the port is already open."""
        self._thread = threading.Thread(
            target=self._http.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="rehearsal",
            daemon=True,
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Break off what is being served and close the port."""
        self.stopping.set()
        self.faults.release()
        if self._thread is not None:
            self._http.shutdown()
            self._thread.join()
            self._thread = None
        self._http.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _shipped_prices() -> PriceTable:
    from llmos_workers.kernel.prices import Prices

    return Prices.load()
