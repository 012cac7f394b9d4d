#!/usr/bin/env python3
"""Follows what llmos learned on a device: no model, no network, nothing but Python >= 3.9.

usage: run_follower.py BUNDLE "goal" --key ed25519:... [options]
       run_follower.py BUNDLE --list --key ed25519:...

  --key KEY        the public key whose bundles this device trusts (llmos keys show); or the
                   path of a file that holds it. Also from LLMOS_EDGE_KEY.
  --base DIR       the folder to work in, and never out of it (default: .)
  --device FILE    what this device allows, as JSON: {"tools": ["Read", "Write", "Edit", "Bash"],
                   "commands": ["sort", "cp"], "bounds": {"MoveArm": {"x": [0, 300]}},
                   "run": {"MoveArm": ["/usr/local/bin/arm", "--x", "{x}"]}}.
                   Without it: Read, Write, Edit.
  --state FILE     where the newest bundle seen is noted, so that an older one is refused
                   (default: ~/.llmos-edge.json)
  --record FILE    add one line of JSON for the run, for llmos edge import
  --list           what the bundle knows
  --explain        which trace fits the goal, and why the others do not; runs nothing
  --dry-run        check everything that can be checked beforehand; changes nothing

Prints one JSON report. Exit codes: 0 done, 1 refused or failed, 2 wrong usage or bundle.

The bundle's signature is checked before anything in it is believed; the goal must be a known
wording, or one with other values in its slots; each pre- and post-condition is evaluated, one
that is not known here counts as failed. In doubt it refuses: a goal that is not followed costs a
call elsewhere, a wrong one may cost more. See docs/edge.md.
"""

from __future__ import annotations

import os
import sys
import time
import unicodedata

TYPE_CHECKING = False
"""Importing typing would take longer than following a goal; type checkers know this name."""
if TYPE_CHECKING:
    import json
    import re
    from collections.abc import Callable, Iterator
    from hashlib import sha256, sha512
    from typing import Any

    Data = dict[str, Any]
    Found = tuple[Data, dict[str, str], dict[str, str]]
    Helper = Callable[[list[Data], str, Data, "NoMatch", Data], Found]
    Point = tuple[int, int, int, int]
    Token = tuple[str, str, str, int]
else:

    class Late:
        """A module that is imported when something of it is first used: json and re take longer
        than all else that a known goal needs.
        """

        def __init__(self, name):  # noqa: ANN001, ANN204
            self._name = name

        def __getattr__(self, name):  # noqa: ANN001, ANN204
            return getattr(__import__(self._name), name)

    json, re = Late("json"), Late("re")
    try:  # hashlib loads all of OpenSSL
        from _sha2 import sha256, sha512
    except ImportError:
        try:
            from _sha256 import sha256  # before Python 3.12
            from _sha512 import sha512
        except ImportError:
            from hashlib import sha256, sha512

FORMAT = "llmos-edge-bundle"
VERSION = 1
MAX_BUNDLE_BYTES = 64 * 1024 * 1024
MAX_FILE_BYTES = 20_000_000
MAX_PHRASE_WORDS = 4
COMMAND_SECS = 60
CLOCK_SLACK_SECS = 24 * 3600
"""A clock that is further behind the bundle's making cannot tell whether it has expired."""
DEFAULT_TOOLS = ("Read", "Write", "Edit")


class Refusal(Exception):
    """The goal is not done, for a reason in words: exit code 1."""


class Unusable(Exception):
    """The bundle, a file of settings or the command line is wrong: exit code 2."""


# -- JSON, by what the module json is made of ----------------------------------------------------


class Reading:
    """How json.loads reads, but that NaN and Infinity are no numbers."""

    strict, object_hook, object_pairs_hook = True, None, None
    parse_float, parse_int = float, int

    @staticmethod
    def parse_constant(text: str) -> None:
        """Refuse what JSON has no word for."""
        raise ValueError(f"{text} is no number")


def read_json(data: str | bytes) -> Any:
    """As json.loads. Raises ValueError."""
    text = (data if isinstance(data, str) else data.decode()).strip()
    try:
        from _json import make_scanner

        scan = make_scanner(Reading)  # type: ignore[arg-type]
    except (ImportError, AttributeError, TypeError):  # a Python that makes json of something else
        return json.loads(text, parse_constant=Reading.parse_constant)
    try:
        value, end = scan(text, 0)
    except StopIteration:
        raise ValueError("it is no JSON") from None
    if end != len(text):
        raise ValueError("it is no JSON")
    return value


def write_json(value: Any) -> str:
    """As json.dumps, with the characters as they are."""
    try:
        from _json import encode_basestring
    except ImportError:
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, str):
        return str(encode_basestring(value))
    if isinstance(value, dict):
        pairs = (f"{write_json(str(name))}: {write_json(part)}" for name, part in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(write_json, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


# -- Ed25519, verification only (RFC 8032). Slow and plain; it holds no secrets. -----------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = 37095705934669439343138083508754565189542113879843219016388785533085940283555
ROOT = 19681161376707505956807079304988542015446066515923890162744021073123829784752
BASE = (
    15112221349535400772501151409588531511454012693041857206046113283949847762202,
    46316835694926478169428394003475163141307993866256225615783033603165251855960,
)


def _add(a: Point, b: Point) -> Point:
    """Sum of two points in extended coordinates."""
    one = (a[1] - a[0]) * (b[1] - b[0]) % P
    two = (a[1] + a[0]) * (b[1] + b[0]) % P
    three = 2 * a[3] * b[3] * D % P
    four = 2 * a[2] * b[2] % P
    e, f, g, h = two - one, four - three, four + three, two + one
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def _double(a: Point) -> Point:
    one, two = a[0] * a[0] % P, a[1] * a[1] % P
    h = one + two
    e = h - (a[0] + a[1]) * (a[0] + a[1]) % P
    g = one - two
    f = 2 * a[2] * a[2] % P + g
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def _point(data: bytes) -> Point | None:
    """The point of 32 bytes; None for bytes that are none."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P or (not x and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


def verify(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` (64 bytes) of ``message`` is by the public ``key`` (32 bytes)."""
    if len(key) != 32 or len(signature) != 64:
        return False
    public = _point(key)
    s = int.from_bytes(signature[32:], "little")
    if public is None or s >= L:
        return False
    digest = sha512(signature[:32] + key + message).digest()
    k = int.from_bytes(digest, "little") % L
    base = (BASE[0], BASE[1], 1, BASE[0] * BASE[1] % P)
    terms = [*_terms(s, base), *_terms(k, (P - public[0], public[1], 1, P - public[3]))]
    by_bit: dict[int, list[Point]] = {}
    for bit, point in terms:
        by_bit.setdefault(bit, []).append(point)
    found = (0, 1, 1, 0)
    for bit in range(max(by_bit, default=0), -1, -1):  # s*B - k*A, both at once
        found = _double(found)
        for point in by_bit.get(bit, ()):
            found = _add(found, point)
    inverse = pow(found[2], -1, P)
    x, y = found[0] * inverse % P, found[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little") == signature[:32]  # a point has one form


def _terms(scalar: int, point: Point) -> Iterator[tuple[int, Point]]:
    """A multiple of a point as few points, each with the power of two that it takes: odd multiples,
    at least five bits apart.
    """
    twice, odd = _double(point), [point]
    for _ in range(7):
        odd.append(_add(odd[-1], twice))
    bit = 0
    while scalar:
        if scalar & 1:
            digit = scalar & 31
            digit -= 32 if digit > 16 else 0
            scalar -= digit
            x, y, z, t = odd[abs(digit) >> 1]
            yield bit, (x, y, z, t) if digit > 0 else (P - x, y, z, P - t)
        scalar >>= 1
        bit += 1


# -- The bundle ----------------------------------------------------------------------------------


def read_key(text: str) -> bytes:
    """32 bytes of ``ed25519:<base64>``, or of a file that holds that."""
    import binascii

    if not text:
        raise Unusable("no key is given: --key ed25519:... (llmos keys show), or LLMOS_EDGE_KEY")
    if ":" not in text and os.path.exists(text):
        with open(text, encoding="utf-8") as file:
            text = file.read()
    algorithm, _, data = text.strip().partition(":")
    try:
        raw = binascii.a2b_base64(data.encode())
    except ValueError:
        raw = b""
    if algorithm != "ed25519" or len(raw) != 32:
        raise Unusable("the key is none: it looks like ed25519:... (llmos keys show)")
    return raw


def load_bundle(path: str, key: bytes, now: float) -> tuple[Data, list[bytes]]:
    """Manifest and items of a bundle that ``key`` signed. Raises Unusable before it believes any
    of it.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BUNDLE_BYTES + 1)
    except OSError as error:
        raise Unusable(f"the bundle cannot be read: {error}") from None
    lines = data.split(b"\n")
    if len(data) > MAX_BUNDLE_BYTES or len(lines) < 3 or lines[-1]:
        raise Unusable("it is no whole bundle")
    try:
        signature = bytes.fromhex(read_json(lines[1])["signature"])
    except (ValueError, KeyError, TypeError):
        raise Unusable("the bundle has no signature") from None
    if not verify(key, b"llmos/edge-bundle/1\n" + lines[0], signature):
        raise Unusable(
            "the bundle is not signed by the key that this device trusts, or was changed"
        )
    manifest = read_json(lines[0])
    if manifest.get("format") != FORMAT or manifest.get("version") != VERSION:
        raise Unusable("the bundle has a form that is not known here: take a newer run_follower.py")
    if now >= manifest["expires_at"]:
        raise Unusable("the bundle has expired")
    if now < manifest["made_at"] - CLOCK_SLACK_SECS:
        raise Unusable("by this device's clock the bundle is not made yet: it may have expired")
    if len(manifest["items"]) != len(lines) - 3:
        raise Unusable("the bundle holds other items than its manifest lists")
    items = []
    for listed, line in zip(manifest["items"], lines[2:-1]):
        if sha256(line).hexdigest() != listed["sha256"]:
            raise Unusable(f"the item {listed['id']} was changed")
        items.append(line)
    return manifest, items


def check_age(manifest: Data, key: bytes, path: str, *, note: bool) -> None:
    """Refuse a bundle that is older than one of this key and project that was here before."""
    name = sha256(key).hexdigest()[:16] + "/" + manifest["project"]
    newest = read_state(path).get(name, 0)
    if manifest["counter"] < newest:
        raise Unusable(
            f"the bundle is older than one that was here before ({manifest['counter']} < {newest})"
        )
    if note and manifest["counter"] > newest:
        import fcntl

        part = f"{path}.{os.getpid()}.part"
        try:
            with open(f"{path}.lock", "w", encoding="utf-8") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # another run may note another bundle
                known = read_state(path)
                known[name] = max(manifest["counter"], known.get(name, 0))
                with open(part, "w", encoding="utf-8") as file:
                    json.dump(known, file)
                os.replace(part, path)
        except OSError as error:
            raise Unusable(f"{path} cannot be written: {error}") from None


def read_state(path: str) -> dict[str, int]:
    """Key and project -> the counter of the newest bundle seen. Raises Unusable."""
    try:
        with open(path, encoding="utf-8") as file:
            return {name: int(counter) for name, counter in read_json(file.read()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError):
        raise Unusable(f"{path} cannot be read: nobody knows which bundle was the newest") from None


# -- The goal ------------------------------------------------------------------------------------

QUOTED = "(\"[^\"]*\"|\u201c[^\u201d]*\u201d|`[^`]*`|(?<!\\w)'[^']*'(?!\\w))"
PLAIN_WORD = r"(?<![\w./\\@#$~*-])[^\W\d_]+(?![\w/\\@*-]|\.\w)"
TOKENS = (
    "(?P<quote>\"[^\"]*\"|\u201c[^\u201d]*\u201d|`[^`]*`|(?<!\\w)'[^']*'(?!\\w))"
    r"|(?P<url>[A-Za-z][A-Za-z0-9+]{1,9}://[^\s,;]*[^\s,;.?!])"
    r"|(?P<email>[\w.+-]+@[\w-]+(?:\.[\w-]+)+)"
    r"|(?P<day>\b\d{4}-\d\d-\d\d\b)"
    r"|(?P<time>\b\d{1,2}:\d\d(?::\d\d)?\b)"
    r"|(?P<file>(?<![\w.])(?:[\w.-]*/)+[\w.*-]*|(?<![\w.])\.?(?:[\w-]+\.)+[A-Za-z]\w{0,7}\b)"
    r"|(?P<number>(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?![\w%]))"
    r"|(?P<word>[^\W\d_]+(?:'[A-Za-z]+)?)"
    r"|(?P<other>[^\s,.;:!?]+|[,.;:!?])"
)
POLITE = frozenset({"please", "kindly"})
LOADED = frozenset(
    """
    a an the and or nor but not no non never without except all any each every both either neither
    none some many few most more less least only just also too first last next previous other
    another than then if unless until while when after before in on at to from into onto out of off
    over under up down with by for as per via using about between against like reverse reversed
    ascending descending this that these those it its them my your our their his her new old
    i me we us you he him she they mine yours ours theirs hers one ones same there here now
    someone somebody something somewhere anyone anybody anything anywhere everyone everybody
    everything everywhere nobody nothing nowhere who whom whose which what whatever where why how
    whether be been being am is are was were do does did done have has had having can cannot could
    may might must shall should will would need needs let want wants so because since though
    although instead besides else again once twice thrice yet still already soon later earlier
    today tomorrow yesterday tonight always often together apart alone back backward backwards
    forward forwards away across along among around behind below beneath beside beyond during inside
    near outside through throughout toward towards upon within above minus plus times etc excluding
    including ignoring omitting skipping lacking containing concerning regarding excluded omitted
    ignored skipped skip omit ignore avoid exclude include half quarter double several enough much
    little very quite rather almost nearly best worst latest newest oldest earliest top bottom
    highest lowest largest smallest biggest longest shortest whole entire current following please
    kindly thanks thank
    """.split()  # noqa: SIM905 - a text of words is easier to read
)
"""Words that say more than a name does: a value that holds one is not bound."""
QUOTES = "\"[^\"]*\"|'[^']*'"
SPLICEABLE = r"(?![-:+=])[\w@%+=:,./^ -]+"
GROUPED = r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?"


def normalize(text: str) -> str:
    """The goal without what cannot carry meaning, as llmos has it."""
    pieces = re.split(QUOTED, unicodedata.normalize("NFC", text).strip())
    for at in range(0, len(pieces), 2):
        pieces[at] = re.sub(r"\s+", " ", re.sub(PLAIN_WORD, lambda m: m[0].lower(), pieces[at]))
    pieces[-1] = pieces[-1].rstrip(" .!?")
    return "".join(pieces).strip()


def signature_of(text: str) -> str:
    """16 hex digits: equal for goals that are the same without a doubt."""
    return sha256(normalize(text).encode()).hexdigest()[:16]


def tokens_of(text: str) -> list[Token]:
    """(kind, text as compared, text as written, where it begins) of each piece; politeness at the
    ends is dropped.
    """
    found = []
    for match in re.finditer(TOKENS, unicodedata.normalize("NFC", text)):
        kind, piece = str(match.lastgroup), match[0]
        if kind == "file":
            piece = piece.rstrip(".") or piece  # the end of a sentence
        said = piece.lower() if kind == "word" else piece
        found.append((kind, said, piece, match.start()))
    while found and (found[-1][1] in POLITE or found[-1][1] in ".!?,"):
        found.pop()
    while found and (found[0][1] in POLITE or found[0][1] == ","):
        found.pop(0)
    return found


def template_of(wording: str, slots: list[Data]) -> list[Any] | None:
    """Tokens of a wording in which each value of a slot is a hole (``("slot", name)``).

    None where a value cannot be found as whole tokens.
    """
    tokens = tokens_of(wording)
    holes = {}
    for slot in slots:
        quotes = [at for at, part in enumerate(tokens) if unquoted(part) == slot["value"]]
        if quotes:
            if len(quotes) > 1 or quotes[0] in holes:
                return None
            holes[quotes[0]] = slot["name"]
            continue
        value = [part[1] for part in tokens_of(slot["value"])]
        starts = [
            at
            for at in range(len(tokens) - len(value) + 1)
            if value and [part[1] for part in tokens[at : at + len(value)]] == value
        ]
        if len(starts) != 1:
            return None
        for at in range(starts[0], starts[0] + len(value)):
            if at in holes:
                return None
            holes[at] = slot["name"]
    made: list[Any] = []
    for at, token in enumerate(tokens):
        name = holes.get(at)
        if name is None:
            made.append(token)
        elif not made or made[-1] != ("slot", name):
            made.append(("slot", name))
    return made


def unquoted(token: Token) -> str | None:
    """What stands between the quotes of a quoted token; None for any other."""
    return token[2][1:-1] if token[0] == "quote" else None


def bindings(template: list[Any], goal: str, slots: list[Data]) -> list[dict[str, str]]:
    """Every way to read a goal as the template: a list of slot values. More than one: doubt."""
    goal = unicodedata.normalize("NFC", goal)
    tokens = tokens_of(goal)
    by_name = {slot["name"]: slot for slot in slots}
    found: list[dict[str, str]] = []

    def walk(at: int, position: int, values: dict[str, str]) -> None:
        if len(found) > 1:
            return
        if at == len(template):
            if position == len(tokens):
                found.append(dict(values))
            return
        part = template[at]
        if part[0] != "slot":
            if position < len(tokens) and part[:2] == tokens[position][:2]:
                walk(at + 1, position + 1, values)
            return
        slot = by_name[part[1]]
        if position < len(tokens) and slot["quoted"] and tokens[position][0] == "quote":
            values[slot["name"]] = tokens[position][2][1:-1]
            walk(at + 1, position + 1, values)
            del values[slot["name"]]
        for length in () if slot["quoted"] else range(1, MAX_PHRASE_WORDS + 1):
            taken = tokens[position : position + length]
            if len(taken) == length and fits(slot, taken):
                end = taken[-1][3] + len(taken[-1][2])
                values[slot["name"]] = goal[taken[0][3] : end]
                walk(at + 1, position + length, values)
                del values[slot["name"]]

    walk(0, 0, {})
    return found


def fits(slot: Data, taken: list[Token]) -> bool:
    """Whether tokens may stand for the slot's value: of the same kind, and nothing but a value."""
    old = tokens_of(slot["value"])
    if all(part[0] == "word" for part in old):
        return all(part[0] == "word" and not says_more(part[2]) for part in taken)
    if [part[0] for part in old] != [part[0] for part in taken]:
        return False
    if any(
        "," in part[2] and not re.fullmatch(GROUPED, part[2])
        for part in taken
        if part[0] == "number"
    ):
        return False  # "1,5" is not 15
    return all(extension(a[2]) == extension(b[2]) for a, b in zip(old, taken) if a[0] == "file")


def says_more(word: str) -> bool:
    """Whether a word may tell how or whether to do it ("quickly", "don't"): no part of a value."""
    return word.lower() in LOADED or (word.islower() and word.endswith(("ly", "n't")))


def extension(path: str) -> str:
    """What stands behind the last dot of a file's name."""
    name = path.rstrip("/").rsplit("/", 1)[-1].lstrip(".")
    return name.rsplit(".", 1)[-1].lower() if "." in name else ""


def leads_out(path: str) -> bool:
    """Whether a relative path could name something that is not below where it begins."""
    return path.startswith(("/", "~")) or ".." in path.split("/")


def objection_to_value(slot: Data, new: str) -> str:
    """Why a new value must not stand where the old one stood; empty when it may."""
    old = slot["value"]
    if new == old:
        return ""
    if slot.get("frozen"):
        return f"{slot['name']} may not vary: {slot['frozen']}"
    if not new.strip() or any(character < " " or character == "\x7f" for character in new):
        return f"the value of {slot['name']} is empty or holds control characters"
    if new.startswith("-") and not old.startswith("-"):
        return f"the value of {slot['name']} could be read as an option"
    if leads_out(old) != leads_out(new):
        return f"the value of {slot['name']} leads out of the folder"
    if "*" in new and "*" not in old:
        return f"the value of {slot['name']} names several"
    if slot["spliced"] and not (re.fullmatch(SPLICEABLE, new) and (" " in old or " " not in new)):
        return f"the value of {slot['name']} cannot safely be put inside a command"
    return ""


def is_known(trace: Data, goal: str) -> bool:
    """Whether the goal is one of a trace's wordings, and nobody said no to it."""
    if trace["vetoes"] and signature_of(goal) in trace["vetoes"]:
        return False
    if goal in trace["wordings"]:
        return True
    told = bare(goal)
    return any(
        bare(wording) == told and normalize(wording) == normalize(goal)
        for wording in trace["wordings"]
    )


def bare(text: str) -> str:
    """Equal for texts that normalize() makes equal, and for some more; it takes no time."""
    folded = unicodedata.normalize("NFC", text).casefold()
    return "".join(folded.split()).rstrip(".!?")


def is_vetoed(trace: Data, goal: str) -> bool:
    """Whether people said no to a goal, politely worded or not."""
    if not trace["vetoes"]:
        return False
    goal = unicodedata.normalize("NFC", goal)
    tokens = tokens_of(goal) or [("", "", "", 0)]
    plain = goal[tokens[0][3] : tokens[-1][3] + len(tokens[-1][2])]
    said = (goal, plain, f"please {plain}", f"{plain} please")
    return any(signature_of(text) in trace["vetoes"] for text in said)


def match(item: Data, goal: str) -> dict[str, str]:
    """Slot values for a goal that is the item's. Raises Refusal saying what is against it."""
    trace = item["match"]
    if is_known(trace, goal):
        return {slot["name"]: slot["value"] for slot in trace["slots"]}
    if is_vetoed(trace, goal):
        raise Refusal("people said that this goal is not this trace's")
    if trace["exact_only"]:
        raise Refusal("only its very wording is followed")
    ways: list[dict[str, str]] = []
    for wording in trace["wordings"]:
        template = template_of(wording, trace["slots"])
        for way in bindings(template, goal, trace["slots"]) if template else ():
            if way not in ways:
                ways.append(way)
    if not ways:
        raise Refusal("no known wording fits")
    if len(ways) > 1:
        raise Refusal("it can be read in more than one way")
    shown = write_json(item["steps"])
    for slot in trace["slots"]:
        why = objection_to_value(slot, ways[0][slot["name"]])
        if not why and ways[0][slot["name"]] != slot["value"] and not holds(shown, slot["name"]):
            why = f"no call shows the value of {slot['name']}"
        if why:
            raise Refusal(why)
    return ways[0]


def holds(steps: str, name: str) -> bool:
    """Whether calls, as JSON, have a hole for the slot."""
    return any(write_json({kind: name}) in steps for kind in ("$slot", "$number"))


# -- The folder ----------------------------------------------------------------------------------


class Folder:
    """The base directory; nothing outside of it is read or written, links are not followed."""

    def __init__(self, base: str, kept: list[str]) -> None:
        """``kept``: files that no goal may change, should they lie in it."""
        self.base = os.path.realpath(base)
        if not os.path.isdir(self.base):
            raise Unusable(f"{base} is no folder")
        self.kept = [os.path.realpath(path) for path in kept]
        self.before: dict[str, bytes | None] = {}

    def refuse_kept(self, real: str) -> None:
        """Raise Refusal for what decides what this device does: the runner with its whole folder,
        where Python looks for modules, and the files of the command line.
        """
        runner = os.path.dirname(os.path.realpath(__file__))
        below = self.base.startswith(runner + os.sep)  # a folder of data beside the runner
        if real in self.kept or (not below and (real + os.sep).startswith(runner + os.sep)):
            raise Refusal(f"{real} decides what this device does: no goal may change it")

    def _folder_of(self, path: str, *, make: bool = False) -> tuple[int, str]:
        """(descriptor of the folder that holds the path, name in it), reached folder by folder, so
        that no link leads anywhere. Raises FileNotFoundError, Refusal.
        """
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if path.startswith(("/", "~")) or ".." in parts or not parts or "\0" in path:
            raise Refusal(f"{path!r} is no path inside of the folder")
        at = os.open(self.base, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for part in parts[:-1]:
                if make:
                    try:
                        os.mkdir(part, dir_fd=at)
                    except FileExistsError:
                        pass
                below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
                os.close(at)
                at = below
        except BaseException as error:
            os.close(at)
            if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
                raise Refusal(f"{path!r} cannot be reached: {error.strerror}") from None
            raise
        return at, parts[-1]

    def _open(self, path: str, flags: int, *, make: bool = False) -> int:
        """Open a plain file below the base."""
        at, name = self._folder_of(path, make=make)
        try:
            found = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644, dir_fd=at)
            info = os.fstat(found)
            if info.st_mode & 0o170000 != 0o100000 or info.st_nlink > 1:
                os.close(found)
                raise Refusal(f"{path!r} is no plain file of its own")
            return found
        except FileNotFoundError:
            raise
        except OSError as error:
            raise Refusal(f"{path!r} cannot be opened: {error.strerror}") from None
        finally:
            os.close(at)

    def read(self, path: str) -> bytes | None:
        """Bytes of a file; None when there is none."""
        try:
            with os.fdopen(self._open(path, os.O_RDONLY), "rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return None
        if len(data) > MAX_FILE_BYTES:
            raise Refusal(f"{path!r} is too large")
        return data

    def write(self, path: str, data: bytes) -> None:
        """Give a file this content; what it held is kept until the run has ended."""
        if path not in self.before:
            self.refuse_kept(os.path.normpath(os.path.join(self.base, path)))
            self.before[path] = self.read(path)
        with os.fdopen(self._open(path, os.O_WRONLY | os.O_CREAT, make=True), "wb") as file:
            file.truncate(0)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def restore(self) -> None:
        """Put back what write() replaced, all that can be."""
        for path, data in self.before.items():
            try:
                if data is not None:
                    self.write(path, data)
                    continue
                at, name = self._folder_of(path)
                try:
                    os.unlink(name, dir_fd=at)
                finally:
                    os.close(at)
            except (Refusal, OSError):
                continue  # a program took it away; why the run failed is what is told

    def digest(self, path: str) -> str | None:
        """sha256 of a file; None when there is none."""
        data = self.read(path)
        return None if data is None else sha256(data).hexdigest()

    def listing(self, path: str, condition: Data) -> str | None:
        """Digest of the names in a folder, as llmos takes it; None when there is none."""
        lead = "" if path == "./" else path
        own = [name for name in condition["own"] if name.startswith(lead)]
        hidden = {name[len(lead) :].split("/")[0] for name in own} | set(condition["volatile"])
        folder = os.path.realpath(os.path.join(self.base, path))
        if folder != self.base and not folder.startswith(self.base + os.sep):
            raise Refusal(f"{path!r} is no path inside of the folder")
        try:
            names = sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return None
        shown = [name for name in names if name not in hidden]
        text = "\0".join(n for n in shown if not n.endswith(condition["temporary"]))
        return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


# -- Running -------------------------------------------------------------------------------------


def filled(value: Any, values: dict[str, str]) -> Any:
    """Arguments with the slots' values in their holes: {"$slot": name}, {"$number": name} and, for
    texts that hold some, {"$parts": [...]}.
    """
    if isinstance(value, dict):
        if set(value) == {"$slot"}:
            return values[value["$slot"]]
        if set(value) == {"$number"}:
            text = values[value["$number"]].replace(",", "")
            return float(text) if "." in text else int(text)
        if set(value) == {"$parts"}:
            return "".join(str(filled(part, values)) for part in value["$parts"])
        return {name: filled(part, values) for name, part in value.items()}
    if isinstance(value, list):
        return [filled(part, values) for part in value]
    return value


def numbers_of(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of every leaf of arguments."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from numbers_of(part, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for at, part in enumerate(value):
            yield from numbers_of(part, f"{name}.{at}")
    else:
        yield name, value


def check_bounds(tool: str, arguments: Data, *bounds: Data) -> None:
    """Raise Refusal for a number beyond what bundle and device allow."""
    for limits in bounds:
        for pattern, (least, greatest) in limits.get(tool, {}).items():
            named = re.compile(
                r"\.".join("[^.]+" if p == "*" else re.escape(p) for p in pattern.split("."))
            )
            for name, value in numbers_of(arguments):
                if not named.fullmatch(name):
                    continue
                if isinstance(value, bool) or not isinstance(value, (int, float)):
                    raise Refusal(
                        f"{tool}.{name} is {value!r}, where a number within bounds must be"
                    )
                if not least <= value <= greatest:
                    raise Refusal(f"{tool}.{name} = {value} is not within {least} to {greatest}")


def output_digest(text: str) -> str:
    """As llmos takes it: without what differs for nothing at the ends of lines."""
    lines = [line.rstrip() for line in text.strip().splitlines()]
    return sha256("\n".join(lines).encode()).hexdigest()


class Runner:
    """One goal on one device."""

    def __init__(self, folder: Folder, manifest: Data, device: Data, *, digests: bool) -> None:
        """``digests``: what files were before and after each step is noted."""
        self.folder, self.manifest, self.device = folder, manifest, device
        self.digests = digests

    def allowed(self, step: Data) -> None:
        """Raise Refusal unless bundle and device allow the step's tool."""
        tool = step["tool"]
        for who, tools in (("bundle", self.manifest["tools"]), ("device", self.device["tools"])):
            if tool not in tools:
                raise Refusal(f"the {who} does not allow {tool}")
        if tool not in ("Read", "Write", "Edit", "Bash") and tool not in self.device["run"]:
            raise Refusal(f"the device does not say how to run {tool}")

    def check(self, condition: Data, values: dict[str, str], result: Data | None) -> None:
        """Raise Refusal unless a condition holds. One that is not known here does not hold."""
        kind = condition.get("check")
        if any(values[name] != condition["given"][name] for name in condition.get("given", {})):
            return  # it was about other values
        path = filled(condition.get("path", ""), values)
        wanted = condition.get("value")
        found: Any
        if kind == "file":
            found = self.folder.digest(path)
            what = f"the file {path}"
        elif kind == "there":
            found, wanted = str(self.folder.read(path) is not None), "True"
            what = f"the file {path}"
        elif kind == "listing":
            found = self.folder.listing(path, condition)
            what = f"the folder {path}"
        elif kind == "exit_code":
            found, what = (result or {})["exit_code"], "the exit code"
        elif kind == "output":
            found = output_digest((result or {})["output"])
            what = "the output"
        else:
            raise Refusal(f"the condition {kind!r} is not known here, so it does not hold")
        if found != wanted:
            raise Refusal(f"{what} is not as it was when this was learned")

    def run(self, item: Data, values: dict[str, str], report: Data, *, dry: bool) -> None:
        """All steps, each between its conditions; what ran goes into the report. Raises Refusal at
        the first difference.
        """
        for step in item["steps"]:
            self.allowed(step)
            arguments = filled(step["arguments"], values)
            bounds = (self.manifest["bounds"], self.device["bounds"])
            check_bounds(step["tool"], arguments, *bounds)
            if step["tool"] == "Bash":
                self.argv(arguments["command"])
        for condition in item["before"]:
            self.check(condition, values, None)
        if self.digests:
            report["inputs"] = self.files(item["before"], values)
        done = report["steps"] = []
        for step in () if dry else item["steps"]:
            for condition in step["before"]:
                self.check(condition, values, None)
            reads = self.files(step["before"], values)
            arguments = filled(step["arguments"], values)
            result = self.call(step["tool"], arguments)
            done.append({"tool": step["tool"], "arguments": arguments, **result})
            if self.digests:
                done[-1].update(reads=reads, writes=self.files(step["after"], values))
            for condition in step["after"]:
                self.check(condition, values, result)

    def files(self, conditions: list[Data], values: dict[str, str]) -> dict[str, str | None]:
        """Digests of the files that conditions are about; none unless they are to be noted."""
        found = {}
        for condition in conditions if self.digests else ():
            if condition.get("check") == "file":
                path = filled(condition["path"], values)
                for name, old in condition.get("given", {}).items():  # its file with these values
                    path = values[name] if path == old else path
                try:
                    found[path] = self.folder.digest(path)
                except Refusal:
                    continue  # no plain file: the condition itself says so, where it counts
        return found

    def call(self, tool: str, arguments: Data) -> Data:
        """Run one tool. Raises Refusal when it fails."""
        if tool == "Read":
            data = self.folder.read(arguments["path"])
            if data is None:
                raise Refusal(f"there is no file {arguments['path']!r}")
            lines = data.decode("utf-8", "replace").splitlines(keepends=True)
            first = int(arguments.get("offset", 1)) - 1
            last = first + int(arguments.get("limit", len(lines)))
            return {"output": "".join(lines[first:last]), "exit_code": None}
        if tool == "Write":
            data = arguments["content"].encode()
            self.folder.write(arguments["path"], data)
            return {"output": f"Wrote {len(data)} bytes to {arguments['path']}.", "exit_code": None}
        if tool == "Edit":
            return {"output": self.edit(arguments), "exit_code": None}
        if tool == "Bash":
            return self.command(*self.argv(arguments["command"]))
        return self.command([filled_word(word, arguments) for word in self.device["run"][tool]])

    def edit(self, arguments: Data) -> str:
        """Replace a text that occurs once, or all of its places."""
        path = arguments["path"]
        data, old = self.folder.read(path), arguments["old"].encode()
        count = 0 if data is None else data.count(old)
        if data is None or not count or (count > 1 and not arguments.get("all")):
            raise Refusal(f"the text to replace occurs {count} times in {path!r}")
        self.folder.write(path, data.replace(old, arguments["new"].encode()))
        return f"Edited {path}."

    def argv(self, command: str) -> tuple[list[str], str]:
        """The words of a simple command, whose program bundle and device allow, and the file that
        its output goes to ("": nowhere). Raises Refusal for what needs a shell.
        """
        import shlex

        bare = re.sub(QUOTES, lambda m: m[0] if m[0][0] == '"' else "", command)
        if re.search(r"[$`\\\n*?\[\]{}~#!]|\d>", bare):
            raise Refusal("the command needs a shell, and there is none here")
        try:
            reader = shlex.shlex(command, posix=True, punctuation_chars="();<>|&")
            reader.whitespace_split, reader.commenters = True, ""
            words = list(reader)
        except ValueError as error:
            raise Refusal(f"the command cannot be read: {error}") from None
        target = words.pop() if len(words) > 2 and words[-2] == ">" else ""
        words = words[:-1] if target else words
        if any(word and not word.strip("();<>|&") for word in words):
            raise Refusal("the command needs a shell, and there is none here")
        for allowed in (self.manifest["commands"], self.device["commands"]):
            if not words or words[0] not in allowed:
                raise Refusal(f"the command {words[:1]} is not allowed here")
        for word in words[1:]:
            for part in {word, *re.split(r"[=:,;@|%]", word)}:
                self.confined(part)
        return words, target

    def confined(self, word: str) -> None:
        """Raise Refusal for a word that names something outside of the folder."""
        base = self.folder.base
        glued = word.startswith("-") and re.match(r"-\w+/|-.*\.\.", word)  # "-o/etc/passwd"
        if leads_out(word) or glued:
            raise Refusal(f"the command names {word!r}, which is outside of the folder")
        real = os.path.realpath(os.path.join(base, word))
        if real != base and not real.startswith(base + os.sep):
            raise Refusal(f"{word!r} leads out of the folder")
        self.folder.refuse_kept(real)

    def command(self, argv: list[str], target: str = "") -> Data:
        """Run a program without a shell, in the folder, with next to no environment."""
        import subprocess

        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C.UTF-8",
            "HOME": self.folder.base,
        }
        try:
            ended = subprocess.run(
                argv, check=False, cwd=self.folder.base, env=env, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, timeout=COMMAND_SECS,
                stderr=subprocess.PIPE if target else subprocess.STDOUT,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Refusal(f"{argv[0]} failed: {error}") from None
        output = ended.stdout.decode("utf-8", "replace")
        output = output.replace(self.folder.base + "/", "./").replace(self.folder.base, ".")
        if ended.returncode:
            raise Refusal(f"{argv[0]} ended with {ended.returncode}: {output[:200]}")
        if target:
            self.folder.write(target, ended.stdout)
            output = ended.stderr.decode("utf-8", "replace")
        return {"output": output, "exit_code": 0}


def filled_word(word: str, arguments: Data) -> str:
    """``{x}`` in a device's own command as the argument of that name; plain values only."""

    def value(match: re.Match[str]) -> str:
        found = arguments.get(match[1])
        if isinstance(found, bool) or not isinstance(found, (int, float, str)):
            raise Refusal(f"the argument {match[1]!r} is missing or no plain value")
        if isinstance(found, str) and (
            found.startswith("-") or not re.fullmatch(SPLICEABLE, found)
        ):
            raise Refusal(f"the argument {match[1]!r} cannot safely be put into a command")
        return str(found)

    return re.sub(r"\{(\w+)\}", value, word)


# -- The command line ----------------------------------------------------------------------------

FLAGS = ("--list", "--explain", "--dry-run")
OPTIONS = ("--key", "--base", "--device", "--state", "--record")


def parse(arguments: list[str], more: tuple[str, ...] = ()) -> tuple[Data, list[str]]:
    """Options by name and the two words; ``more`` names further options. By hand: argparse takes
    longer than all the rest.
    """
    given: dict[str, Any] = {}
    words, rest = [], list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if word in FLAGS:
            given[word] = True
        elif name in OPTIONS or name in more:
            if not equals and not rest:
                raise Unusable(f"{name} needs a value")
            given[name] = value if equals else rest.pop(0)
        elif word.startswith("--"):
            raise Unusable(f"unknown option {word}")
        else:
            words.append(word)
    if not words or len(words) > 2 or (len(words) == 1) != ("--list" in given):
        raise Unusable('usage: BUNDLE "goal" --key ed25519:... (see --help)')
    return given, words


def read_device(path: str | None) -> Data:
    """What the device allows. Raises Unusable."""
    device = {"tools": list(DEFAULT_TOOLS), "commands": [], "bounds": {}, "run": {}, "words": {}}
    if path:
        try:
            with open(path, encoding="utf-8") as file:
                said = read_json(file.read())
            unknown = set(said) - set(device)
        except (OSError, ValueError, TypeError) as error:
            raise Unusable(f"the device's file cannot be read: {error}") from None
        if unknown:
            raise Unusable(f"the device's file says {sorted(unknown)[0]!r}, which is not known")
        for name, value in said.items():
            if not isinstance(value, type(device[name])):
                raise Unusable(f"the device's file: {name} is no {type(device[name]).__name__}")
        device.update(said)
        check_bound_names(device)
    return device


def check_bound_names(device: Data) -> None:
    """Raise Unusable for bounds of an argument that the tool's program is not given: misspelled,
    they would hold nothing.
    """
    for tool in set(device["run"]) & set(device["bounds"]):
        given = set(re.findall(r"\{(\w+)\}", " ".join(device["run"][tool])))
        for name in device["bounds"][tool]:
            if name != "*" and name not in given:
                raise Unusable(f"the device's file bounds {tool}.{name}, which its program lacks")


def find(items: list[Data], goal: str) -> Found:
    """The one item that fits the goal, its slot values, and why the others do not."""
    fitting, against = [], {}
    known = [item for item in items if goal in item["match"]["wordings"]]
    known = [item for item in known or items if is_known(item["match"], goal)]
    for item in items:
        if known and item not in known:  # as on the fleet: a known wording comes first
            against[item["id"]] = "the goal is another trace's very wording"
            continue
        try:
            fitting.append((item, match(item, goal)))
        except Refusal as error:
            against[item["id"]] = str(error)
    if not fitting:
        raise NoMatch("nothing that was learned is sure to do this", against)
    if len(fitting) > 1:
        names = ", ".join(item["id"] for item, _ in fitting)
        raise NoMatch(f"more than one trace would do this: {names}", against, len(fitting))
    return fitting[0][0], fitting[0][1], against


class NoMatch(Refusal):
    """No single trace fits; ``against`` says why for each, ``fitting`` how many do."""

    def __init__(self, reason: str, against: dict[str, str], fitting: int = 0) -> None:
        super().__init__(reason)
        self.against, self.fitting = against, fitting


def follow(given: Data, words: list[str], report: Data, helper: Helper | None = None) -> None:
    """Do what the command line says, filling in the report as it goes. Where no trace surely fits,
    ``helper`` is asked for one.
    """
    key = read_key(given.get("--key") or os.environ.get("LLMOS_EDGE_KEY", ""))
    manifest, lines = load_bundle(words[0], key, time.time())
    state = given.get("--state") or os.path.join(os.path.expanduser("~"), ".llmos-edge.json")
    check_age(manifest, key, state, note="--dry-run" not in given and "--explain" not in given)
    items = [read_json(line) for line in lines]
    report["bundle"] = {name: manifest[name] for name in ("project", "counter", "expires_at")}
    if "--list" in given:
        report["traces"] = [
            {
                "id": item["id"],
                "goal": item["match"]["wordings"][0],
                "slots": {slot["name"]: slot["value"] for slot in item["match"]["slots"]},
                "tools": sorted({step["tool"] for step in item["steps"]}),
                "tool": item.get("tool"),
            }
            for item in items
        ]
        return
    report["goal"] = words[1]
    device = read_device(given.get("--device"))
    try:
        try:
            item, values, against = find(items, words[1])
        except NoMatch as error:
            if helper is None:
                raise
            item, values, against = helper(items, words[1], device, error, report)
    except NoMatch as error:
        if "--explain" in given:
            report["against"] = error.against
        raise
    report.update(trace_id=item["id"], version=item["trace_version"], slots=values)
    if "--explain" in given:
        report["against"] = against
        return
    named = ("--key", "--device", "--state", "--record")
    kept = [words[0], state, *(given[name] for name in named if name in given)]
    folder = Folder(given.get("--base") or ".", kept)
    runner = Runner(folder, manifest, device, digests="--record" in given)
    try:
        runner.run(item, values, report, dry="--dry-run" in given)
    except BaseException:
        folder.restore()
        raise
    report["answer"] = filled(item["answer"], values)
    report["dry_run"] = "--dry-run" in given


def main(arguments: list[str]) -> int:
    """The exit code."""
    if "--help" in arguments or "-h" in arguments:
        print(__doc__)
        return 0
    return tell(arguments)


def tell(
    arguments: list[str],
    more: tuple[str, ...] = (),
    helper_of: Callable[[Data], Helper] | None = None,
) -> int:
    """Follow, record and print the report; the exit code. ``more`` are further options, from which
    ``helper_of`` makes who is asked where no trace surely fits.
    """
    report: Data = {"ok": False}
    given: Data = {}
    began = time.time()
    try:
        given, words = parse(arguments, more)
        follow(given, words, report, helper_of(given) if helper_of else None)
        report["ok"], code = True, 0
    except Refusal as error:
        report["refused"], code = str(error), 1
    except Unusable as error:
        report["unusable"], code = str(error), 2
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        report["unusable"], code = f"{type(error).__name__}: {error}", 2
    report["at"], report["seconds"] = round(began, 3), round(time.time() - began, 4)
    try:
        record(given, report)
    except OSError as error:
        report["unrecorded"] = str(error)
    print(write_json(report))
    return code


RECORDED = ("at", "seconds", "ok", "goal", "bundle", "trace_id", "slots", "inputs", "answer")


def record(given: Data, report: Data) -> None:
    """Add a line on the run to the file that --record names: what ran, with digests in the place of
    what files and programs said. Raises OSError.
    """
    if "--record" not in given or "goal" not in report or "--dry-run" in given:
        return
    if "--explain" in given:
        return
    line = {name: report[name] for name in RECORDED if name in report}
    line.update(format="llmos-edge-run", version=VERSION)
    line["trace_version"] = report.get("version", 0)
    line["refused"] = report.get("refused") or report.get("unusable") or ""
    line["model"] = report.get("model", {}).get("name") if "model" in report else None
    line["steps"] = []
    for step in report.get("steps", ()):
        kept = {name: step[name] for name in ("tool", "arguments", "exit_code", "reads", "writes")}
        line["steps"].append({**kept, "output_sha256": output_digest(step["output"])})
    line["sha256"] = sha256(json.dumps(line, sort_keys=True).encode()).hexdigest()
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    with os.fdopen(os.open(given["--record"], flags, 0o600), "ab") as file:
        file.write(json.dumps(line, sort_keys=True).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
