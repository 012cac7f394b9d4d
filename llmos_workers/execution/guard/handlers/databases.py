"""Clients of databases: the SQL they send, and commands of their own."""

from __future__ import annotations

import re
from itertools import pairwise

from llmos_workers.execution.guard.lists import words
from llmos_workers.execution.guard.marks import UNKNOWN, known
from llmos_workers.execution.guard.paths import Use
from llmos_workers.execution.guard.programs import Arguments, arguments
from llmos_workers.execution.guard.redirects import content
from llmos_workers.execution.guard.scope import Call
from llmos_workers.execution.guard.sql import judge_sql

_PSQL = words(
    "-c -f -d -h -p -U -v -F -o -L -P -R -T --command --file --dbname --host --port "
    "--username --set --variable --field-separator --output --log-file --pset"
)
_MYSQL = words(
    "-e -h -P -u -D -S -p- --execute --host --port --user --database --socket --init-command "
    "--default-character-set --defaults-file --defaults-extra-file --tee --pager --protocol"
)


def sqlite(call: Call) -> str:
    """sqlite3: a file, SQL and dot commands."""
    values = frozenset(
        {"-cmd", "-init", "-separator", "-newline", "-nullvalue", "-vfs", "-c", "-s"}
    )
    args = [arg for arg in call.args if not re.fullmatch(r"-[a-z]+", arg) or arg in values]
    parsed = arguments(args, values)
    operands = list(parsed.operands)
    texts = operands[1:]
    for path in operands[:1]:
        if path not in (":memory:", ""):
            call.scope.path(path.removeprefix("file:"), Use.WRITE)
    for option, value in _single_dash(call.args):
        if option in ("-cmd", "-c", "-s"):
            texts.append(value)
        elif option == "-init":
            call.scope.path(value, Use.READ)
    if not operands[1:] and call.stdin:
        texts.append(call.stdin)
        if not known(call.stdin):
            call.confirm("sql", "the SQL is only known at run time")
    for text in texts:
        _dots(call, text)
        judge_sql(text, call.scope)
    return UNKNOWN


def _single_dash(args: list[str]) -> list[tuple[str, str]]:
    return [(a, b) for a, b in pairwise(args) if a.startswith("-")]


def _dots(call: Call, text: str) -> None:
    for line in text.split("\n"):
        match = re.match(r"\s*\.(\w+)\s*(.*)", line)
        if match is None:
            continue
        command, rest = match[1].lower(), match[2].strip()
        if command in ("shell", "system", "load", "open", "excel", "www") or rest.startswith("|"):
            call.deny("code", f"its command .{command} runs something")
        elif command in ("read", "import"):
            call.scope.path(
                rest.split()[-2] if command == "import" and len(rest.split()) > 1 else rest,
                Use.READ,
            )
        elif (
            command in ("output", "once", "save", "backup", "clone", "log", "trace", "archive")
            and rest
        ):
            call.scope.path(rest.split()[-1].strip("'\""), Use.WRITE)
        elif command == "restore":
            call.scope.shared.destructive = True
            call.confirm("sql", "it replaces the database")


def psql(call: Call) -> str:
    """psql: -c, -f, stdin, and backslash commands."""
    parsed = arguments(call.args, _PSQL)
    texts = _texts(call, parsed, ("-c", "--command"), ("-f", "--file"))
    _host(call, parsed.value("-h", "--host"))
    for text in texts:
        if re.search(
            r"\\(!|copy|o\b|i\b|ir\b|w\b|e\b|ef\b|g\s*\||gexec|setenv|lo_\w+|cd\b|c\b|connect)",
            text,
        ):
            call.deny("code", "its backslash command runs or writes something")
        judge_sql(text, call.scope)
    output = parsed.value("-o", "--output", "-L", "--log-file")
    if output:
        call.scope.path(output, Use.WRITE)
    return UNKNOWN


def mysql(call: Call) -> str:
    """mysql: -e, stdin, and its own commands."""
    parsed = arguments(call.args, _MYSQL)
    texts = _texts(call, parsed, ("-e", "--execute", "--init-command"), ())
    _host(call, parsed.value("-h", "--host"))
    for text in texts:
        if re.search(r"\\!|^\s*(system|source|tee|pager)\s|\\[.PTe]\s", text, re.M | re.I):
            call.deny("code", "its command runs or writes something")
        judge_sql(text, call.scope)
    if any(arg.startswith(("--pager", "--tee")) for arg in call.args):
        call.deny("option", "it runs a pager or writes a file")
    return UNKNOWN


def _texts(
    call: Call, parsed: Arguments, commands: tuple[str, ...], files: tuple[str, ...]
) -> list[str]:
    texts = [value or "" for option, value in parsed.options if option in commands]
    for option, value in parsed.options:
        if option in files and value and value != "-":
            call.scope.path(value, Use.READ)
            texts.append(content(value, call.scope))
    if not texts and call.stdin is not None:
        texts.append(call.stdin)
    if any(not known(text) for text in texts) and not all(t == UNKNOWN for t in texts):
        call.confirm("sql", "part of the SQL is only known at run time")
    elif any(text == UNKNOWN for text in texts):
        call.confirm("sql", "the SQL is only known at run time")
    return texts


def _host(call: Call, host: str | None) -> None:
    if host and host not in ("localhost", "127.0.0.1", "::1") and not host.startswith("/"):
        call.scope.host(host)


_REDIS_READS = words(
    "get mget exists ttl pttl type keys scan hget hgetall hkeys hvals hlen llen lrange lindex "
    "scard smembers sismember zrange zcard zscore strlen ping info dbsize time xlen xrange "
    "memory object randomkey getrange bitcount pfcount hmget hscan sscan zscan --version echo"
)


def redis(call: Call) -> str:
    """redis-cli: reading commands of a local server that was named."""
    values = frozenset({"-h", "-p", "-n", "-a", "-u", "-r", "-i", "--user", "--pass", "-s"})
    parsed = arguments(call.args, values, stop=True)
    if parsed.has("--eval", "--cluster", "--pipe", "--rdb", "--functions-rdb", "-s"):
        return call.deny("database", "it changes the server, or takes everything out of it")
    command = parsed.operands[0].lower() if parsed.operands else ""
    if command not in _REDIS_READS:
        return call.deny(
            "database", f"redis {command or 'commands from stdin'} may change the server"
        )
    if parsed.value("-h", "-u") not in (None,):
        return call.deny("network", "it names a server")
    return call.confirm("database", "it talks to a server")


def dump(call: Call) -> str:
    """pg_dump and mysqldump: everything there is."""
    for option, value in _single_dash(call.args):
        if option in ("-f", "--file", "-r"):
            call.scope.path(value, Use.WRITE)
    return call.confirm("database", "it takes a whole database out")


HANDLERS = {
    **{"sqlite3": sqlite, "sqlite": sqlite, "duckdb": sqlite, "psql": psql, "pgcli": psql},
    **{"mysql": mysql, "mariadb": mysql, "mycli": mysql, "clickhouse-client": mysql},
    **{"redis-cli": redis, "valkey-cli": redis, "pg_dump": dump, "mysqldump": dump},
}
