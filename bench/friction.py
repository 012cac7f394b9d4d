"""How often the guard gets in the way of everyday shell requests.

    python -m bench.friction FILE [--count N] [--seed N] [--show]

FILE holds one command line a line, as people write them. Those that stay in the project's folder
are judged, a seeded sample of them: no path outside, no home folder, no other machine, no change of
users, services or disks. That is told by the text alone, never by the guard itself.
"""

from __future__ import annotations

import argparse
import random
import re
import statistics
import time
from collections import Counter
from pathlib import Path

from bench.report import finish, table
from llmos_workers.execution.guard.check import check_command
from llmos_workers.execution.guard.parse import UnreadableCommand, shfmt
from llmos_workers.execution.guard.policy import GuardPolicy

OUTSIDE = re.compile(
    r"(?<![\w.*?})\]\"'$-])~|\$\{?(HOME|OLDPWD|USER)|\.\.(?=/|\s|$|[\"'`)])"
    r"|(?:^|[\s=\"'`(:<>,])/(?!dev/(null|stdin|stdout|stderr|tty|fd)\b|tmp/\w|bin/\w+[\s;]|usr/bin/\w+[\s;])[\w.*?$\"'{@/-]"
    r"|(?:^|[\s\"'`(])/(?=[\s\"';)]|$)"
)
"""An absolute path, the home folder, or the folder above."""
OTHERS = re.compile(
    r"(?:^|[\s|;&(`\"'/])(sudo|su|ssh|scp|sftp|ssh-\w+|rsync|ping|dig|nslookup|host|nc|netcat|telnet|mail|mailx"
    r"|sendmail|ifconfig|ip|route|netstat|ss|curl|wget|ftp|lftp|mount|umount|fdisk|mkfs\S*|parted|dd|losetup"
    r"|crontab|at|service|systemctl|shutdown|reboot|halt|init|useradd|userdel|usermod|passwd|groupadd|chown"
    r"|chgrp|kill|killall|pkill|skill|renice|screen|tmux|apt-get|apt|yum|dnf|rpm|dpkg|brew|modprobe|insmod|dmesg"
    r"|env|printenv|export|history|bind|complete|compgen|shopt|set|enable|hash|alias|script|chroot|sysctl"
    r"|mysql|psql|finger|w|who|last|tcpdump|iptables|swapon|swapoff|updatedb|locate|crontab|logrotate|rename_"
    r"|open|osascript|defaults|xdg-open|gpg|kinit|mknod|setfacl|getfacl|chattr|lsattr|watch_)(?=[\s;|&)`\"']|$)"
)
"""Programs whose business is other machines, processes, users, or the shell's own settings."""
COUNT, SEED = 500, 20


def main() -> None:
    """Judge the sample and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("file", type=Path)
    options.add_argument("--count", type=int, default=COUNT)
    options.add_argument("--seed", type=int, default=SEED)
    options.add_argument("--show", action="store_true", help="each that is not allowed")
    given = options.parse_args()
    lines = given.file.read_text(encoding="utf-8", errors="replace").split("\n")
    chosen = sample(lines, given.count, given.seed)
    policy = GuardPolicy(workspace="/srv/project", follow_links=False)
    refused: list[tuple[str, str, str]] = []
    times, verdicts = [], Counter[str]()
    for command in chosen:
        started = time.perf_counter()
        finding = check_command(command, policy).finding
        times.append((time.perf_counter() - started) * 1000)
        verdicts[finding.verdict.name] += 1
        if finding.verdict:
            refused.append(
                (
                    finding.verdict.name.lower(),
                    finding.rule,
                    f"{command[:110]}  [{finding.reason[:60]}]",
                )
            )
    rules = Counter(row[:2] for row in refused)
    table("not allowed", ("verdict", "rule", "requests"), [(*k, n) for k, n in rules.most_common()])
    if given.show:
        table("these", ("verdict", "rule", "request"), sorted(refused))
    finish(
        {
            "denied": verdicts["DENY"] / len(chosen),
            "confirmed": verdicts["CONFIRM"] / len(chosen),
            "checked": len(chosen),
            "ms_per_check": statistics.fmean(times),
        }
    )


def sample(lines: list[str], count: int, seed: int) -> list[str]:
    """``count`` different requests that bash could run and that stay in the project's folder."""
    distinct = sorted({line.strip() for line in lines if line.strip()})
    random.Random(seed).shuffle(distinct)
    chosen = []
    for line in distinct:
        if stays_inside(line):
            chosen.append(line)
        if len(chosen) == count:
            break
    return chosen


def stays_inside(line: str) -> bool:
    """Whether a request names nothing outside of its folder, and can be run at all."""
    if OUTSIDE.search(line) or OTHERS.search(line):
        return False
    try:
        shfmt(line)
    except UnreadableCommand:
        return False
    return True


if __name__ == "__main__":
    main()
