"""What the scripted model proposes when one tool is to be made of several goals: what their family
says. It generalizes nothing by itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from llmos_workers.contracts.rehearsal import TOOLSMITH_MARKER
from llmos_workers.rehearsal.protocol import blocks_of
from llmos_workers.rehearsal.reply import Reply
from llmos_workers.rehearsal.skills import Family

Recognise = Callable[[str], tuple[Family, dict[str, str]] | None]
FAMILY = "toolsmith"


def asks_for_tool(request: dict[str, Any]) -> bool:
    """Whether a request wants one tool of several traces."""
    system = request.get("system") or []
    texts = [system] if isinstance(system, str) else [str(b.get("text", "")) for b in system]
    return any(TOOLSMITH_MARKER in text for text in texts)


def tool_reply(request: dict[str, Any], recognise: Recognise) -> Reply:
    """The proposal of the family that all cases are of; an empty one where there is none."""
    text = "".join(str(block.get("text", "")) for block in blocks_of(request["messages"][0]))
    found = re.search(r"<cases>\n(.*?)\n</cases>", text, re.S)
    cases = json.loads(found[1]) if found else []
    known = [recognise(str(case.get("goal", ""))) for case in cases]
    families = {each[0].name: each[0] for each in known if each is not None}
    (family,) = families.values() if len(families) == 1 and None not in known else (None,)
    answer: dict[str, Any] = {"template": "", "parameters": [], "source": ""}
    if family is not None and (tool := family.tool) is not None:
        named = [{"name": name, "type": kind} for name, kind in tool.parameters.items()]
        answer = {"template": tool.template, "parameters": named, "source": tool.source}
    return Reply([{"type": "text", "text": json.dumps(answer)}], "end_turn", FAMILY)
