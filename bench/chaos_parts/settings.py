"""Settings of a fleet that things happen to: leases and takeovers are short."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from bench.chaos_parts import checks
from llmos_workers.config import LLMOSConfig
from llmos_workers.embedded.local import REHEARSAL_KEY


def settings(workspace: Path, model_url: str, **redis: str | float) -> LLMOSConfig:
    """For a workspace and the rehearsal model at ``model_url``, "" for none; ``redis``: more of
    the settings ``redis.*``.
    """
    return LLMOSConfig.from_dict(
        {
            "workspace": workspace,
            "kernel": {
                "budget_usd": 200.0,
                "lease_secs": checks.LEASE_SECS,
                "recovery_grace_secs": 3.0,
                "max_deliveries": 10,
            },
            # What upkeep buys by itself belongs to none of the goals that are accounted for.
            "memory": {"insights": False},
            "redis": {"visibility_timeout_secs": 9, **redis},
            "sdk": {
                "base_url": model_url or None,
                "api_key": SecretStr(REHEARSAL_KEY),
                "stall_secs": 10.0,
            },
        }
    )
