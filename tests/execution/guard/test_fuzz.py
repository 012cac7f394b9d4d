"""Both parsers and the analysis against command lines that nobody would write."""

from __future__ import annotations

import logging

from hypothesis import given, settings
from hypothesis import strategies as st

from llmos_workers.execution.guard.check import check_command, check_python
from llmos_workers.execution.guard.parse import UnreadableCommand, parse
from llmos_workers.execution.guard.policy import GuardPolicy
from llmos_workers.execution.guard.verdict import Verdict

POLICY = GuardPolicy("/project", follow_links=False)
PIECES = st.sampled_from(
    [
        *("rm", "cat", "echo", "x", "/etc/shadow", "-rf", "/", "a=b", "$a", "${a[0]}", "${a:-b}"),
        *("$(", ")", "`", "'", '"', "\\", ";", "|", "&&", "||", "&", "\n", ">", "<", "<<E", "E"),
        *("<(", "{", "}", "(", "((", "))", "if", "then", "fi", "for", "in", "do", "done", "while"),
        *("case", "esac", "function", "f()", "[[", "]]", "$'\\x41'", "*", "~", "{a,b}", "!", "#"),
        *("$((1+a[1]))", "sh -c", "xargs", "find . -exec", "\\;", "eval", "time", "@", "$@", "\t"),
        *(
            "sed -n",
            "awk",
            "git",
            "curl",
            "tar xf",
            "python3 -c",
            "sqlite3 x",
            "env",
            "é",
            "${x@P}",
        ),
    ]
)
LINES = st.lists(PIECES, max_size=12).map(" ".join) | st.lists(PIECES, max_size=8).map("".join)


@settings(max_examples=150, deadline=None)
@given(LINES | st.text(max_size=60))
def test_no_command_line_breaks_the_analysis(command: str) -> None:
    """Nothing raises and nothing fails inside: rule "guard" stands for a fault."""
    logging.getLogger("llmos_workers.execution.guard.check").disabled = True
    assert check_command(command, POLICY).finding.rule != "guard"


@settings(max_examples=100, deadline=None)
@given(LINES)
def test_what_the_parsers_read_differently_is_never_allowed(command: str) -> None:
    try:
        agreed = parse(command).agreed
    except UnreadableCommand:
        agreed = False
    if not agreed:
        assert check_command(command, POLICY).finding.verdict is not Verdict.ALLOW


@settings(max_examples=100, deadline=None)
@given(LINES, st.sampled_from(["; {}", " && {}", "\n{}", " | {}"]))
def test_harm_is_seen_behind_whatever_comes_before(command: str, joint: str) -> None:
    """Where the whole line can be read, and the harm is a command of it, it is not allowed."""
    from llmos_workers.execution.guard.parse import command_starts, shfmt

    line = command + joint.format("rm -rf /etc")
    try:
        starts = set(command_starts(shfmt(line)))
    except UnreadableCommand:
        assert check_command(line, POLICY).finding.verdict is not Verdict.ALLOW
        return
    if len(line.encode()) - len("rm -rf /etc") in starts:
        assert check_command(line, POLICY).finding.verdict is not Verdict.ALLOW


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="abos.()[]{}'\"= \n:,*_import|x", max_size=60))
def test_no_code_breaks_the_analysis(code: str) -> None:
    assert check_python(code, POLICY).finding.rule != "guard"
