"""What the scripted model notes of sessions: which tools failed and why, and which calls came
back. It counts; it understands nothing.
"""

from __future__ import annotations

import html
import json
import re
from collections import defaultdict
from typing import Any

from llmos_workers.contracts.rehearsal import INSIGHTS_MARKER
from llmos_workers.rehearsal.protocol import blocks_of
from llmos_workers.rehearsal.reply import Reply

FAMILY = "insights"
OFTEN = 3
"""Sessions with the same tools, from which that is a pattern."""


def asks_for_insights(request: dict[str, Any]) -> bool:
    """Whether a request wants insights from sessions."""
    system = request.get("system") or []
    texts = [system] if isinstance(system, str) else [str(b.get("text", "")) for b in system]
    return any(INSIGHTS_MARKER in text for text in texts)


def insights_reply(request: dict[str, Any]) -> Reply:
    """Notes as the request's schema wants them."""
    text = "".join(str(block.get("text", "")) for block in blocks_of(request["messages"][0]))
    sessions = _tagged(text, "sessions")
    notes = [*_failures(sessions), *_patterns(sessions)]
    content = {"type": "text", "text": json.dumps({"notes": notes}, ensure_ascii=False)}
    return Reply([content], "end_turn", FAMILY)


def _failures(sessions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    why: dict[tuple[str, str], list[str]] = defaultdict(list)
    for session in sessions:
        for step in session["steps"]:
            if "failed" in step:
                why[step["tool"], step["failed"]].append(session["id"])
    return [
        {
            "kind": "failure",
            "title": f"{tool} failed",
            "text": f"{tool} failed in project work: {reason}",
            "sessions": ids,
        }
        for (tool, reason), ids in why.items()
    ]


def _patterns(sessions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    ways: dict[str, list[str]] = defaultdict(list)
    for session in sessions:
        tools = " then ".join(step["tool"] for step in session["steps"])
        if tools:
            ways[tools].append(session["id"])
    return [
        {
            "kind": "pattern",
            "title": f"goals done by {tools}",
            "text": f"Goals are often done by {tools}.",
            "sessions": ids,
        }
        for tools, ids in ways.items()
        if len(ids) >= OFTEN
    ]


def _tagged(text: str, tag: str) -> list[dict[str, Any]]:
    found = re.search(rf"<{tag}>\n(.*?)\n</{tag}>", text, re.S)
    data: list[dict[str, Any]] = json.loads(html.unescape(found[1])) if found else []
    return data
