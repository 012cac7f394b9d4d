"""tar, zip, rsync and others: where they read, where they unpack, what they run."""

from __future__ import annotations

import re

from llmos_workers.execution.guard.lists import words
from llmos_workers.execution.guard.marks import STREAM, UNKNOWN
from llmos_workers.execution.guard.paths import Use
from llmos_workers.execution.guard.programs import arguments
from llmos_workers.execution.guard.scope import Call

_TAR_VALUES = words(
    "-f -C -T -X -b -g -I -F -K -N -V -L --file --directory --files-from --exclude-from "
    "--exclude --transform --xform --owner --group --mode --mtime --strip-components "
    "--use-compress-program --to-command --checkpoint-action --info-script "
    "--new-volume-script --rsh-command --one-top-level --sort --format --wildcards-match "
    "--newer"
)
_TAR_RUNS = (
    *("--to-command", "--checkpoint-action", "--info-script", "--new-volume-script"),
    *("--rsh-command", "-I", "-F", "--use-compress-program", "--rmt-command"),
)


def tar(call: Call) -> str:  # noqa: PLR0912 - one way out for each case
    """tar: reads or writes an archive, and may run programs."""
    args = list(call.args)
    if args and not args[0].startswith("-") and re.fullmatch(r"[a-zA-Z]+", args[0]):
        args = _bundled(args)
    parsed = arguments(args, _TAR_VALUES)
    for option, value in parsed.options:
        if option in _TAR_RUNS and not re.fullmatch(
            r"(pigz|gzip|xz|zstd|bzip2|lz4|pbzip2)( -\S+)*", value or ""
        ):
            return call.deny("option", f"tar {option} runs a program")
    archive = parsed.value("-f", "--file")
    folder = parsed.value("-C", "--directory") or "."
    extracts = parsed.has("-x", "--extract", "--get")
    makes = parsed.has("-c", "-r", "-u", "-A", "--create", "--append", "--update")
    if archive and archive != "-" and STREAM not in archive:
        if ":" in archive and "/" not in archive.split(":")[0] and not parsed.has("--force-local"):
            return call.deny("network", "the archive is on another machine")
        call.scope.path(archive, Use.WRITE if makes else Use.READ)
    if extracts:
        call.scope.path(f"{folder}/{UNKNOWN}" if folder != "." else UNKNOWN, Use.WRITE)
        call.scope.path(folder, Use.WRITE) if folder != "." else None
        if parsed.has("-P", "--absolute-names"):
            call.deny("path", "the archive says where its files go")
    else:
        call.scope.path(folder, Use.READ)
    if makes:
        for path in parsed.operands:
            call.scope.path(path, Use.READ)
        if parsed.has("--remove-files"):
            call.scope.shared.destructive = True
    for option in ("-T", "--files-from", "-X", "--exclude-from"):
        listed = parsed.value(option)
        if listed and listed != "-" and STREAM not in listed:
            call.scope.path(listed, Use.READ)
    return UNKNOWN


def _bundled(args: list[str]) -> list[str]:
    """``tar xzf a b`` in the spelling with dashes."""
    out, rest = [], args[1:]
    for letter in args[0]:
        option = f"-{letter}"
        out.append(option)
        if option in _TAR_VALUES and rest:
            out.append(rest.pop(0))
    return [*out, *rest]


def compress(call: Call) -> str:
    """zip and 7z a: the first operand is the archive."""
    for arg in call.args:
        if arg.startswith(("-TT", "--unzip-command")):
            return call.deny("option", "it runs a program")
    parsed = arguments(call.args, frozenset({"-b", "-t", "-tt", "-n", "-P"}))
    operands = list(parsed.operands)
    if call.name.startswith("7z"):
        operands = operands[1:]
    for index, path in enumerate(operands):
        if (
            parsed.has("-x", "-i")
            and "." in path
            and index > 1
            and not path.startswith(("/", ".."))
        ):
            continue
        call.scope.path(path, Use.READ if index else Use.WRITE)
    return UNKNOWN


def unpack(call: Call) -> str:
    """unzip: archive, folder."""
    parsed = arguments(call.args, frozenset({"-d", "-x", "-P"}))
    for path in parsed.operands[:1]:
        call.scope.path(path, Use.READ)
    folder = parsed.value("-d")
    if folder:
        call.scope.path(folder, Use.WRITE)
    if parsed.has("-:"):
        call.deny("path", "the archive says where its files go")
    return UNKNOWN


def rsync(call: Call) -> str:
    """rsync: the last operand is written; other machines are out of reach."""
    values = words(
        "-e --rsh --rsync-path --exclude --include --exclude-from --include-from --files-from "
        "--filter -f --log-file --password-file --bwlimit --chmod --max-size --min-size "
        "--backup-dir -B --temp-dir -T --partial-dir --compare-dest --copy-dest --link-dest "
        "--suffix --port"
    )
    parsed = arguments(call.args, values)
    remote = [path for path in parsed.operands if re.match(r"[^/]*:", path)]
    if remote or parsed.has("--daemon"):
        return call.deny("network", "it copies to or from another machine")
    if parsed.has("-e", "--rsh", "--rsync-path"):
        return call.deny("option", "it runs a program")
    for option, value in parsed.options:
        if value and option in ("--exclude-from", "--include-from", "--files-from"):
            call.scope.path(value, Use.READ)
        if value and option in ("--log-file", "--backup-dir", "--temp-dir", "-T", "--partial-dir"):
            call.scope.path(value, Use.WRITE)
    deletes = any(option.startswith("--del") for option, _ in parsed.options)
    if parsed.has("--remove-source-files"):
        call.scope.shared.destructive = True
    for path in parsed.operands[:-1]:
        call.scope.path(path, Use.READ)
    for path in parsed.operands[-1:]:
        call.scope.path(path, Use.WIPE if deletes else Use.WRITE)
    return UNKNOWN


def patch(call: Call) -> str:
    """patch: the files are named in the patch, the folder or file may be named here."""
    values = frozenset({"-p", "-i", "-d", "-o", "-r", "-D", "-F", "-B", "--input", "--directory"})
    parsed = arguments(call.args, values)
    for option, value in parsed.options:
        if value and option in ("-i", "--input"):
            call.scope.path(value, Use.READ)
        elif value and option in ("-d", "--directory", "-o", "-r"):
            call.scope.path(value, Use.WRITE)
    for path in parsed.operands[:1]:
        call.scope.path(path, Use.WRITE)
    return UNKNOWN


def cpio(call: Call) -> str:
    """cpio: files in and out by a list."""
    if any(arg.startswith(("--rsh", "--to-command")) for arg in call.args):
        return call.deny("option", "it runs a program")
    for arg in call.args:
        if not arg.startswith("-"):
            call.scope.path(arg, Use.WRITE)
    return UNKNOWN


HANDLERS = {
    **{"tar": tar, "gtar": tar, "bsdtar": tar, "zip": compress, "7z": compress, "7za": compress},
    **{"unzip": unpack, "unrar": unpack, "rsync": rsync, "patch": patch, "cpio": cpio, "pax": cpio},
}
