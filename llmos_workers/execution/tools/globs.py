"""Globs over relative paths, as every room reads them."""

from __future__ import annotations

import re

from llmos_workers.contracts.errors import ToolError


def glob_pattern(pattern: str) -> re.Pattern[str]:
    """A glob over relative paths: ``*`` and ``?`` within a name, ``**`` across folders,
    ``[...]`` and ``{a,b}``. Raises ToolError for one that cannot be read.
    """
    out, index, depth = [], 0, 0
    while index < len(pattern):
        char = pattern[index]
        if pattern.startswith("**/", index):
            out.append("(?:[^/]+/)*")
            index += 3
            continue
        if pattern.startswith("**", index):
            out.append(".*")
            index += 2
            continue
        if char == "[":
            end = pattern.find("]", index + 2)
            if end < 0:
                raise ToolError(f"the pattern {pattern!r} has an open '['.")
            inner = pattern[index + 1 : end].replace("\\", "\\\\")
            out.append("[" + ("^" + inner[1:] if inner[0] in "!^" else inner) + "]")
            index = end + 1
            continue
        depth += (char == "{") - (char == "}" and depth > 0)
        special = {"*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")"}
        in_braces = char == "," and depth
        out.append("|" if in_braces else special.get(char, re.escape(char)))
        index += 1
    try:
        return re.compile("".join(out), re.DOTALL)
    except re.error as error:
        raise ToolError(f"the pattern {pattern!r} cannot be read: {error}.") from None
