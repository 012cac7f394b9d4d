"""Code of other languages in arguments (perl, ruby, node, awk, ...): what must not be in it.

These languages are not parsed: a snippet that names a way to run programs, to reach the network
or other people's files is refused, and one that names a path outside is judged as that path.
"""

from __future__ import annotations

import re

from llmos_workers.execution.guard.marks import shown
from llmos_workers.execution.guard.paths import Use
from llmos_workers.execution.guard.scope import Scope

_RUNS = re.compile(
    r"\b(system|exec\w*|popen\w*|spawn\w*|fork|qx|child_process|IO\.popen|Open3|shell_exec|passthru"
    r"|proc_open|pcntl_\w+|os\.execute|io\.popen|Deno\.(run|Command)|Bun\.spawn|Runtime|kill"
    r"|syscall|dlopen|Fiddle|FFI|process\.binding|vm\.run\w*|new Function|instance_eval|class_eval"
    r"|require_once|include_once|assert_options|create_function|backticks|run\s+\w+)\b|`|%x"
)
_NETWORK = re.compile(
    r"\b(socket\w*|Socket|TCPSocket|UDPSocket|net/http|Net::|LWP|IO::Socket|open-uri|fsockopen|curl_\w+"
    r"|XMLHttpRequest|WebSocket|fetch\s*\(|https?\.(get|request)|dgram|stream_socket_\w+|luasocket"
    r"|require\W+(net|http|https|dns|tls|dgram|http2)\b)|/inet/"
)
_ENVIRONMENT = re.compile(
    r"%ENV|\$ENV|\bENV\b|\benviron\b|process\.env|getenv|\$_SERVER|os\.getenv"
)
_FILES = re.compile(
    r"\b(unlink\w*|rmSync|rmdir\w*|remove_tree|rmtree|rm_rf|rm_r|removeSync|rimraf|File\.delete"
    r"|FileUtils|os\.remove|chmod\w*|chown\w*|symlink\w*|truncate\w*)\b"
)
_EVAL = re.compile(
    r"\b(eval|decode_base64|base64_decode|unpack1?|instance_eval|send|__import__)\b|\batob\b"
)
_LITERAL = re.compile(
    r"""(unlink|rmdir|File\.delete|rmSync|unlinkSync|os\.remove)\W*["'][\w./-]+["']\W*$"""
)
_PATH = re.compile(r"""["'(,\s=](/(?=["'])|~?/[\w.*][\w./*~-]*|\.\./[\w./*-]*|~/[\w./*-]*)""")
_OPENED = re.compile(r"""["'][+<>|]{1,3}\s*(~?/\w[\w.-]*/[\w./*~-]*)""")
"""A path behind the signs with which perl opens a file; a closing tag has but one slash."""
_ENDLESS = re.compile(r"while\s*\(?\s*(1|true)\s*\)?|\bloop\b|for\s*\(;;\)|1 while")


def judge_snippet(language: str, code: str, scope: Scope) -> None:
    """Note what a snippet of a language that is not parsed must not do."""
    said = f"({language}: {shown(code)})"
    if _RUNS.search(code) or (
        language in ("tclsh", "expect") and re.search(r"\b(exec|open)\b", code)
    ):
        scope.deny("code", f"the code runs programs {said}")
    if _NETWORK.search(code):
        scope.deny("network", f"the code talks to the network {said}")
    if _ENVIRONMENT.search(code):
        scope.deny("secret", f"the code reads the environment {said}")
    if _EVAL.search(code):
        scope.deny("code", f"the code makes code {said}")
    if _ENDLESS.search(code):
        scope.confirm("endless", f"the code repeats without end {said}")
    changes = _FILES.search(code) is not None
    if changes:
        if not _LITERAL.search(code):
            scope.confirm("code", f"the code removes or changes files {said}")
        scope.shared.destructive = True
    for path in [*_PATH.findall(f" {_without_patterns(language, code)}"), *_OPENED.findall(code)]:
        scope.path(path, Use.DELETE if changes else Use.READ)


def _without_patterns(language: str, code: str) -> str:
    """The code without regular expressions between slashes, which look like paths."""
    if language in ("php", "lua", "luajit"):
        return code
    code = re.sub(
        r"\b(s|y|tr)([/|#,!{])(?:\\.|(?!\2).)*?\2(?:\\.|(?!\2).)*?\2", " ", code, flags=re.S
    )
    return re.sub(r"(?<![\w\"'/])(m|qr)?/(?:\\.|[^/\\\n])+/[a-z]*(?=[\s;)},.]|$)", " ", code)
