"""A call of every command."""

from __future__ import annotations

from tests.support.commands import LEAVES

CALLS = """
submit --no-wait hello
submit hello
status {ended}
watch {ended}
result {ended}
list
explain hello
plan hello
feedback {ended} good
judge stats
approvals
approve {approval}
deny {denied} --why no
cancel {queued}
schedule add @daily hello
schedule list
schedule next --count 2
schedule pause {schedule}
schedule resume {schedule}
schedule remove {schedule}
dead list
dead show {dead}
dead retry {dead}
dead drop {poison}
webhooks list
webhooks retry {delivery}
projects list
projects window p 2
budget show
budget set global 20
budget ledger
budget doubt
budget doubt --release {call}
budget check
audit
gate log
gate verify
why a.txt --project p
traces list
traces show {trace}
traces history {trace}
traces diff {trace}
traces pin {trace}
traces unpin {trace}
traces rm {trace} --yes
traces restore {removed} --version 1
traces approve --all --yes
traces verify
traces sync
traces export {folder}/pack
traces import {folder}/pack
reindex
test {folder}/fixtures --init {other_trace}
test {folder}/fixtures
memory search
memory show {note}
memory forget {note}
sentience show --self
sentience trigger task_success
sentience history
sentience history --plot {folder}/state.svg
sentience reset --yes
improve list
improve apply k1
improve dismiss k2
agents list
agents show coder
agents create poet --description x --prompt y
agents edit poet --description z
agents history poet
agents diff poet 1 2
agents rollback poet 1
agents lint
agents choose review
tools list
tools show Read
tools show note
tools search read --words
tools sign {folder}/workspace/tools/bell.py
tools generated
tools disable note
tools rollback note
tools generalize {other_trace}
hooks list
hooks test
keys show
keys create
keys rotate
keys trust {key}
keys untrust 0123456789abcdef
edge export --out {folder}/bundle
edge runner {folder}
top --once
report --html {folder}/page.html
backup {folder}/all.llmos
restore {folder}/all.llmos --check
migrate --check
doctor
config show
version
""".strip().splitlines()
"""A call of each command, in an order in which each finds what it needs. Names are of World."""


def called(line: str) -> str:
    """Which command a line calls."""
    words = line.split()
    return next(n for n in (" ".join(words[:2]), words[0]) if n in LEAVES)
