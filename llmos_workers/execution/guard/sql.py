"""SQL that is sent through a client: what it destroys, and how it leaves the database."""

from __future__ import annotations

import re

from llmos_workers.execution.guard.marks import shown
from llmos_workers.execution.guard.scope import Scope

_TOKENS = re.compile(
    r"--[^\n]*|/\*(?P<hint>!?)(?P<comment>.*?)\*/|'(?:''|[^'])*'|\"(?:\"\"|[^\"])*\"|`[^`]*`"
    r"|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|;",
    re.S,
)
_DROPS = re.compile(r"\b(drop|truncate)\b")
_LEAVES = re.compile(
    r"\b(copy\b.*\b(from|to)\b.*|into\s+(out|dump)file|load_file|load\s+data|pg_read_file\w*"
    r"|pg_ls_dir|pg_write\w*|lo_(import|export)|xp_\w+|sp_oacreate|load_extension|readfile|writefile"
    r"|edit\s*\(|dblink\w*|create\s+(or\s+replace\s+)?function|alter\s+system|attach\b|fts3_tokenizer"
    r"|pg_sleep|benchmark\s*\(|sleep\s*\(|read_csv\w*|read_text|install\b|sys_exec|sys_eval)"
)


def statements(text: str) -> list[str]:
    """The statements of a text in lower case, comments gone, literals emptied.

    MySQL runs what is in ``/*! ... */``: it stays.
    """
    parts: list[str] = [""]
    at = 0
    for match in _TOKENS.finditer(text):
        parts[-1] += text[at : match.start()]
        at = match.end()
        found = match[0]
        if found == ";":
            parts.append("")
        elif found.startswith(("--", "/*")):
            parts[-1] += f" {match['comment'].lstrip('0123456789')} " if match["hint"] else " "
        else:
            parts[-1] += " 'x' " if found.startswith(("'", "$")) else " x "
    parts[-1] += text[at:]
    return [" ".join(part.lower().split()) for part in parts if part.strip()]


def judge_sql(text: str, scope: Scope) -> None:
    """Note what SQL destroys or where it leads."""
    for statement in statements(text):
        said = f"({shown(statement)})"
        words = statement.split()
        if words[0].startswith((".", "\\")):
            continue
        if words[0] in (
            "select",
            "with",
            "explain",
            "show",
            "describe",
            "values",
            "table",
        ) and not (
            re.search(
                r"\b(delete|update|insert|drop|truncate)\s+(from|into|table|\w+\s+set)\b", statement
            )
        ):
            if _LEAVES.search(statement):
                scope.deny("sql", f"it leaves the database {said}")
            elif re.search(r"\binto\b", statement):
                scope.confirm("sql", f"it writes a table {said}")
        elif _DROPS.search(statement):
            scope.shared.destructive = True
            scope.deny("sql", f"it destroys data of a database {said}")
        elif _LEAVES.search(statement):
            scope.deny("sql", f"it leaves the database {said}")
        elif re.match(r"(do|exec|execute|call|prepare)\b", statement):
            scope.confirm("sql", f"it runs code inside the database {said}")
        elif re.match(r"delete\b|update\b", statement):
            _rows(statement, said, scope)
        elif re.match(r"(alter|grant|revoke|reassign|shutdown|kill|purge|reset)\b", statement):
            scope.shared.destructive = True
            scope.deny("sql", f"it changes what a database is {said}")


def _rows(statement: str, said: str, scope: Scope) -> None:
    scope.shared.destructive = True
    always = re.search(r"\bwhere\s+(1\s*=\s*1|true|1|'x'\s*=\s*'x'|not\s+false)\b", statement)
    if " where " not in f"{statement} " or always:
        scope.confirm("sql", f"it changes all rows of a table {said}")
