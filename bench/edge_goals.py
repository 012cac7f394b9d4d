"""Goals for bench.edge: known ones, the same with other values, and look-alikes. Written before
the follower was asked any of them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A known goal with what is asked of it."""

    goal: str
    values: dict[str, str]
    others: tuple[tuple[str, tuple[str, ...]], ...]
    """Goals with other values, and those values."""
    lookalikes: tuple[str, ...]


CASES = (
    Case(
        "Copy people.csv to backup/people.csv",
        {"source": "people.csv", "target": "backup/people.csv"},
        (
            ("Copy staff.csv to backup/staff.csv", ("staff.csv", "backup/staff.csv")),
            ("please copy a.csv to b.csv", ("a.csv", "b.csv")),
            ("Copy data/2024.csv to old/2024.csv.", ("data/2024.csv", "old/2024.csv")),
        ),
        (
            "Move people.csv to backup/people.csv",
            "Copy people.csv from backup/people.csv",
            "Copy people.csv to backup/people.json",
            "Do not copy people.csv to backup/people.csv",
            "Copy people.csv to backup/people.csv and delete it",
        ),
    ),
    Case(
        "Move the arm to 120 mm at 40 percent speed",
        {"x": "120", "speed": "40"},
        (
            ("Move the arm to 80 mm at 20 percent speed", ("80", "20")),
            ("Move the arm to 12.5 mm at 5 percent speed", ("12.5", "5")),
        ),
        (
            "Move the arm by 120 mm at 40 percent speed",
            "Move the arm to 120 cm at 40 percent speed",
            "Move the gripper to 120 mm at 40 percent speed",
            "Move the arm to 120 mm",
            "Move the arm to 120 mm at full speed",
        ),
    ),
    Case(
        "Write the label Pump to the display",
        {"label": "Pump"},
        (
            ("Write the label Valve to the display", ("Valve",)),
            ("Write the label North Valve to the display", ("North Valve",)),
        ),
        (
            "Write the label to the display",
            "Clear the label Pump on the display",
            "Write the label Pump to the log",
            "Write the label Pump and Valve to the display",
            "Write the label Pump to the display twice",
        ),
    ),
    Case(
        'Send "door open" to the panel',
        {"text": "door open"},
        (
            ('Send "door shut" to the panel', ("door shut",)),
            ("Send 'all clear' to the panel", ("all clear",)),
        ),
        (
            'Send "door open" to every panel',
            'Send "door open" to the panel "B"',
            'Read "door open" from the panel',
            "Send door open to the panel",
            'Send "door open" to the panel at 10:30',
        ),
    ),
    Case(
        "Record the temperature of sensor s-12 on 2026-11-01",
        {"day": "2026-11-01"},
        (("Record the temperature of sensor s-12 on 2026-12-24", ("2026-12-24",)),),
        (
            "Record the temperature of sensor s-12 before 2026-11-01",
            "Record the temperature of sensor s-13 on 2026-11-01",
            "Record the humidity of sensor s-12 on 2026-11-01",
            "Record the temperature of all sensors on 2026-11-01",
            "Erase the temperature of sensor s-12 on 2026-11-01",
        ),
    ),
    Case(
        "Fetch http://10.0.0.5/status into status.json",
        {"url": "http://10.0.0.5/status", "file": "status.json"},
        (
            (
                "Fetch http://10.0.0.9/status into line9.json",
                ("http://10.0.0.9/status", "line9.json"),
            ),
        ),
        (
            "Post http://10.0.0.5/status into status.json",
            "Fetch http://10.0.0.5/status into status.xml",
            "Fetch status.json into http://10.0.0.5/status",
            "Fetch http://10.0.0.5/status into status.json unless it is there",
            "Fetch http://10.0.0.5/status",
        ),
    ),
    Case(
        "Sort the lines of names.txt into sorted.txt",
        {"source": "names.txt", "target": "sorted.txt"},
        (
            ("Sort the lines of a/b.txt into c.txt", ("a/b.txt", "c.txt")),
            ("sort the lines of LIST.txt into out.txt", ("LIST.txt", "out.txt")),
        ),
        (
            "Sort the lines of names.txt into sorted.txt in reverse",
            "Sort the words of names.txt into sorted.txt",
            "Sort the lines of names.txt and mail.txt into sorted.txt",
            "Sort all lines of names.txt into sorted.txt",
            "Count the lines of names.txt into sorted.txt",
        ),
    ),
    Case(
        "Set the valve of tank Alpha to 30",
        {"tank": "Alpha", "percent": "30"},
        (
            ("Set the valve of tank Beta to 55", ("Beta", "55")),
            ("Kindly set the valve of tank Gamma Two to 5", ("Gamma Two", "5")),
        ),
        (
            "Set the valve of tank Alpha to 30 after 10 minutes",
            "Set the valve of every tank to 30",
            "Set the valve of tank Alpha not to 30",
            "Set the pressure of tank Alpha to 30",
            "Set the valve of tank Alpha to off",
        ),
    ),
)
