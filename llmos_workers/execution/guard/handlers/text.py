"""grep, sed, awk, jq and other programs whose first operand is a pattern or a program."""

from __future__ import annotations

import re

from llmos_workers.execution.guard.generic import generic
from llmos_workers.execution.guard.lists import words
from llmos_workers.execution.guard.marks import DECODED, FETCHED, INSIDE, STREAM, UNKNOWN, known
from llmos_workers.execution.guard.paths import Use
from llmos_workers.execution.guard.programs import Options, arguments
from llmos_workers.execution.guard.redirects import content
from llmos_workers.execution.guard.scope import Call

_GREP = words(
    "-e -m -A -B -C -d -D --regexp --max-count --after-context --before-context --context "
    "--include --exclude --exclude-dir --color --colour --label --binary-files -g --glob -t "
    "--type -T --type-not -j --threads -M --max-columns -r- --replace --sort --max-depth "
    "--iglob"
)
_SED_VALUES = frozenset({"-e", "-f", "--expression", "--file", "-l", "--line-length"})


def grep(call: Call) -> str:
    """grep and rg: the first operand is a pattern unless -e or -f gives it."""
    values = _GREP | {"-f", "--file"}
    if call.name in ("rg", "ag", "ack"):
        values = values | {"-r", "--replace"}
        if any(arg.split("=")[0] in ("--pre", "--pager", "--hostname-bin") for arg in call.args):
            return call.deny("option", "it runs another program")
    parsed = arguments(call.args, values)
    patterns = parsed.value("-f", "--file")
    if patterns and STREAM not in patterns:
        call.scope.path(patterns, Use.READ)
    given = parsed.has("-e", "-f", "--regexp", "--file", "--files")
    operands = list(parsed.operands if given else parsed.operands[1:])
    for path in operands:
        if STREAM not in path and path != "-":
            call.scope.path(path, Use.READ)
    if parsed.has("-l", "-L", "--files-with-matches", "--files-without-match", "--files"):
        return INSIDE
    if not operands and call.stdin:
        return call.stdin if not known(call.stdin) else UNKNOWN
    return UNKNOWN


def sed(call: Call) -> str:
    """sed: its script may write files and run commands."""
    in_place = any(re.match(r"-[nErsuz]*i|--in-place", arg) for arg in call.args)
    args = [arg for arg in call.args if not re.match(r"-[nErsuz]*i|--in-place", arg)]
    parsed = arguments(args, _SED_VALUES)
    scripts = [v for option, v in parsed.options if option in ("-e", "--expression") and v]
    files = [v for option, v in parsed.options if option in ("-f", "--file") and v]
    operands = list(parsed.operands)
    if not scripts and not files and operands:
        scripts = [operands.pop(0)]
    for script in scripts:
        _judge_sed(call, script)
    for path in files:
        call.scope.path(path, Use.READ)
    for path in operands:
        if STREAM not in path:
            call.scope.path(path, Use.WRITE if in_place else Use.READ)
    return _rewritten(call, operands)


_ADDRESS = re.compile(
    r"\s*(?:\d+(?:~\d+)?|\$|\+\d+|~\d+|/(?:\\.|\[[^\]]*\]|[^/\\])*/[IM]*|\\(.).*?\1[IM]*)\s*"
)
_TEXT = re.compile(r"[aic](\\?\s*\n?[^\n]*(?:\\\n[^\n]*)*)")
_FILE = re.compile(r"([rRwW])\s*([^\n;}]*)")


def _judge_sed(call: Call, script: str) -> None:  # noqa: PLR0912 - one way out for each case
    """Walk a sed script command by command; what cannot be read needs a yes if it might do harm."""
    at, script = 0, re.sub("[\ue000-\ue01f]", "_", script)
    for _ in range(500):
        while at < len(script) and script[at] in " \t\n;{}!,":
            at += 1
        if at >= len(script):
            return
        if address := _ADDRESS.match(script, at):
            at = address.end()
            continue
        command = script[at]
        if command in "sy":
            at = _substitution(call, script, at)
        elif command == "e":
            call.deny("code", "its sed script runs commands")
            return
        elif command in "rRwW" and (file := _FILE.match(script, at)):
            at = file.end()
            _sed_file(call, file[1], file[2].strip())
        elif command in "aic" and (text := _TEXT.match(script, at)):
            at = text.end()
        elif command in "btT:":
            at += len(re.match(r"[^;\n}]*", script[at:])[0])  # type: ignore[index]
        elif command == "#":
            end = script.find("\n", at)
            at = len(script) if end < 0 else end
        elif command in "dDgGhHlnNpPqQxz=F0123456789":
            at += 1
        else:
            if re.search(r"\be\b|[wW]\s", script[at:]):
                call.confirm("code", "its sed script cannot be read")
            return


def _sed_file(call: Call, command: str, path: str) -> None:
    if path:
        call.scope.path(path, Use.WRITE if command in "wW" else Use.READ)


def _substitution(call: Call, script: str, at: int) -> int:
    """The end of ``s/a/b/flags``; its flags e and w are judged."""
    if at + 1 >= len(script):
        return len(script)
    mark, index, found = script[at + 1], at + 2, 0
    while index < len(script) and found < 2:
        if script[index] == "\\":
            index += 1
        elif script[index] == "[" and found == 0 and mark != "[":
            end = script.find("]", index + 2)
            index = end if end > 0 and mark not in script[index:end] else index
        elif script[index] == mark:
            found += 1
        index += 1
    flags = re.match(r"[gpiImM0-9e]*", script[index:])
    text = flags[0] if flags else ""
    if script[at] == "s" and "e" in text:
        call.deny("code", "its sed script runs commands")
    index += len(text)
    if script[index : index + 1] == "w":
        end = script.find("\n", index)
        end = len(script) if end < 0 else end
        _sed_file(call, "w", script[index + 1 : end].strip())
        return end
    return index


def _rewritten(call: Call, operands: list[str]) -> str:
    texts = "".join(content(path, call.scope) for path in operands) or call.stdin or ""
    if FETCHED in texts:
        return FETCHED
    if DECODED in texts or (texts and known(texts)):
        return DECODED
    return texts or UNKNOWN


_AWK_RUNS = re.compile(
    r"\bsystem\s*\(|\|&?\s*getline|\|&|\"\s*\|\s*(?!\|)|(?<!\|)\|\s*\"|(?<!\|)\|\s*[A-Za-z_]\w*\s*($|[;}\n])|@load|@include|close\s*\(\s*\""
)
_AWK_FILE = re.compile(
    r">>?\s*(\"[^\"]*\"|[A-Za-z_$][\w.]*\s*[;}\n]?)|getline\s*\w*\s*<\s*(\"[^\"]*\")"
)


def awk(call: Call) -> str:
    """awk: its program may run commands and write files."""
    values = frozenset(
        {"-F", "-v", "-f", "--field-separator", "--assign", "--file", "-E", "-i", "-l"}
    )
    parsed = arguments(call.args, values, stop=True)
    operands = list(parsed.operands)
    if parsed.has("-i", "-l", "-E", "--include", "--load"):
        call.confirm("option", "it loads more code")
    file = parsed.value("-f", "--file")
    if file:
        call.scope.path(file, Use.READ)
    elif operands:
        _judge_awk(call, operands.pop(0))
    for path in operands:
        if STREAM not in path and not re.match(r"[A-Za-z_]\w*=", path):
            call.scope.path(path, Use.READ)
    return _rewritten(call, operands)


def _judge_awk(call: Call, code: str) -> None:
    if not known(code):
        code = re.sub("[\ue000-\ue01f]", "_", code)
    texts_gone = re.sub(r"/(?:\\.|[^/\\\n])*/", "//", code)
    if "ENVIRON" in code or "PROCINFO" in code:
        call.deny("secret", "its awk program reads the environment")
    if "/inet" in code:
        call.deny("network", "its awk program talks to the network")
    outside = re.sub(r"\"(?:\\.|[^\"\\])*\"", '""', texts_gone)
    if _AWK_RUNS.search(outside):
        _awk_commands(call, code)
    for written, read in _AWK_FILE.findall(re.sub(r"/(?:\\.|[^/\\\n])*/", "//", code)):
        path = (written or read).strip().strip(";}").strip()
        if path.startswith('"') and len(path) > 1:
            call.scope.path(path.strip('"') or UNKNOWN, Use.WRITE if written else Use.READ)


def _awk_commands(call: Call, code: str) -> None:
    """``"command" | getline``, ``print | "command"`` and system("command")."""
    texts = re.findall(
        r"system\s*\(\s*\"((?:\\.|[^\"\\])*)\"\s*\)|\|&?\s*\"((?:\\.|[^\"\\])*)\"|\"((?:\\.|[^\"\\])*)\"\s*\|",
        code,
    )
    if not texts or re.search(r"system\s*\(\s*[^\")]|\"\s*[A-Za-z_$(]", code):
        call.deny("code", "its awk program runs commands")
        return
    for choice in texts:
        text = next(filter(None, choice), "")
        call.scope.machine.script(text.replace('\\"', '"'), call.scope.deeper(), UNKNOWN)


def jq(call: Call) -> str:
    """jq: its filter may read the environment."""
    values = frozenset({"--arg", "--argjson", "--slurpfile", "--rawfile", "--indent", "-L", "-f"})
    parsed = arguments(call.args, values)
    code = parsed.operands[0] if parsed.operands else ""
    if re.search(r"(^|[^.\w])\$?(env|ENV)\b|\binput_filename\b|\$__prog", code):
        call.deny("secret", "its filter reads the environment")
    for path in parsed.operands[1:]:
        if "/" in path or "." in path:
            call.scope.path(path, Use.READ)
    return UNKNOWN


def editor(call: Call) -> str:
    """vi, ed and others: commands of theirs may run programs."""
    text = " ".join([*call.args, call.stdin or ""])
    if re.search(
        r"(^|[\s:'\"])!|:!|\bshell\b|system\(|:terminal|writefile|-c\s*py|\blua\b|\bpython", text
    ):
        return call.deny("code", "the editor runs commands")
    for path in call.args:
        if not path.startswith(("-", "+")):
            call.scope.path(path, Use.WRITE)
    return UNKNOWN


def gdb(call: Call) -> str:
    """gdb: its commands may run programs."""
    text = " ".join(call.args)
    if re.search(
        r"\b(shell|make|python|pipe|!|source|call|attach|dump|restore|guile|compile)\b|!|-p\b|--pid|-x\b",
        text,
    ):
        return call.deny("code", "the debugger runs commands")
    return generic(call, "tool", Options())


HANDLERS = {
    **dict.fromkeys(
        ("grep", "egrep", "fgrep", "rgrep", "rg", "ag", "ack", "pcregrep", "zegrep"), grep
    ),
    **dict.fromkeys(("sed", "gsed"), sed),
    **dict.fromkeys(("awk", "gawk", "mawk", "nawk"), awk),
    **{"jq": jq, "gdb": gdb},
    **dict.fromkeys(
        ("ed", "ex", "vi", "vim", "nvim", "emacs", "nano", "pico", "view", "red"), editor
    ),
}
