"""What generated Python may say: nothing of what a hostile one would, and none of it ever runs."""

import textwrap

import pytest

from llmos_workers.contracts.errors import PolicyDenied
from llmos_workers.execution.crystal.policy import check_source
from llmos_workers.execution.crystal.runners import Program
from tests.execution.crystal.hostile import BODIES, MODULES


def module(body):
    return f"def f(*, a: str) -> str:\n{textwrap.indent(body, '    ')}\n    return a\n"


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_hostile_body_is_refused(body):
    with pytest.raises(PolicyDenied):
        check_source(module(body))


@pytest.mark.parametrize("source", MODULES.values(), ids=MODULES)
def test_a_hostile_module_is_refused(source):
    with pytest.raises(PolicyDenied):
        check_source(source)


def test_the_same_frame_with_a_harmless_body_passes():
    checked = check_source(module("x = len(a)"))
    assert (checked.name, checked.parameters, checked.tools) == ("f", {"a": "str"}, frozenset())


GOOD = '''"""Chapters."""


def write_chapters(*, folder: str, count: int) -> str:
    """Make chapters."""
    made = []
    for number in range(1, count + 1):
        if number == 1:
            title = "Start"
        else:
            title = f"Chapter {number}"
        r1 = tools.call("Write", path=f"{folder}/{number}.md", content=f"# {title}\\n")
        if not r1.ok:
            return r1.output
        made.append(folder.upper() + str(number).zfill(3))
    listed = tools.call("Bash", command="ls " + folder)
    return ", ".join([name for name in made if name in listed.output or math.floor(1.5) == 1])
'''


def test_loops_branches_and_texts_may_be_said():
    checked = check_source(GOOD)
    assert checked.parameters == {"folder": "str", "count": "int"}
    assert checked.tools == {"Write", "Bash"}


def test_checking_and_compiling_run_nothing(tmp_path):
    trap = tmp_path / "trap"
    source = f'def f(*, a: open({str(trap)!r}, "w")) -> str:\n    return a\n'
    with pytest.raises(PolicyDenied):
        check_source(source)
    Program.of("f", source)
    assert not trap.exists()
