"""The one place that knows a secret value when it sees one. Pure.

Three ways a value is known: it has the form of a key (``sk-ant-...``, a private key's block), it
stands behind a name that says so (``API_KEY=...``, ``"password": "..."``), or it stands in a file
that holds nothing else (``.netrc``, ``id_rsa``). Values known otherwise, those of the
environment, are kernel.redact's. In its place comes a reference, ``«secret:API_KEY»``: the same
for the same name, and never turned back into the value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

MIN_SECRET_CHARS = 8
"""Shorter values are words of everyday text; removing them would only garble."""

CONFIG_FILE = re.compile(
    r".*\.(json|ya?ml|toml|ini|cfg|conf|config|properties|env|tfvars|xml)", re.IGNORECASE
)
"""Paths of files in which a plain word behind ``password:`` is a password."""

REFERENCE = re.compile(r"«secret:[^«»\s]{1,80}»")
_MAX_NAME = 60

_FORMS = (
    ("anthropic-key", ("sk-ant-",), re.compile(r"\bsk-ant-[\w-]{8,}")),
    (
        "api-key",
        ("sk-", "pk-", "rk-", "_live_", "whsec_", "AIza"),
        re.compile(r"\b(?:(?:sk|pk|rk)-|(?:sk|rk)_live_|whsec_|AIza)[\w-]{12,}"),
    ),
    (
        "token",
        ("gh", "github_pat_", "glpat-", "xox", "hf_", "npm_"),
        re.compile(
            r"\b(?:(?:gh[pousr]|hf|npm)_[A-Za-z0-9]{16,}|(?:github_pat_|glpat-|xox[abeprs]-)[\w-]{10,})"
        ),
    ),
    ("sendgrid-key", ("SG.",), re.compile(r"\bSG\.[\w-]{16,}\.[\w-]{16,}")),
    ("client-secret", ("GOCSPX-",), re.compile(r"\bGOCSPX-[\w-]{20,}")),
    ("webhook", ("hooks.slack.com/",), re.compile(r"(?<=hooks\.slack\.com/)services/[\w/]{20,}")),
    ("aws-key", ("AKIA", "ASIA"), re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("jwt", ("eyJ",), re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*")),
    # A block may be cut off at its end, or shown from its middle.
    (
        "private-key",
        ("PRIVATE KEY-----",),
        re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*-----|\Z)"),
    ),
    (
        "private-key",
        ("KEY-----",),
        re.compile(r"(?:^[A-Za-z0-9+/=]{16,}\r?\n){1,200}-----END [A-Z ]*KEY-----", re.MULTILINE),
    ),
)
"""What is a secret by its own form, whatever stands around it: its name, pieces of text of which
one is in each, and the form.
"""
KEY_FORMS = tuple(form for name, _, form in _FORMS if name != "private-key")

# scheme://user:password@host keeps scheme, user and host.
_URL_PASSWORD = re.compile(
    r"(\b[a-zA-Z][a-zA-Z0-9+.\-]{0,30}://[^\s/:@«]{0,200}:)"
    r"(?!pass(?:word|wd)?\b|pw@)([^\s/@«<\[{$*][^\s/@«]*)(@)"
)
_SENT = (
    ("authorization", re.compile(r"(?i)\b(?:bearer|basic)\s+([\w.~+/=-]{12,})")),
    (
        "user-password",
        re.compile(
            r"\b(?:curl|wget|https?)\b[^\n|;&]{0,300}?\s(?:-u|--user)[ =]?[\"']?"
            r"[^\s:/\"'«]{1,60}:([^\s\"'«$]{8,})"
        ),
    ),
    ("user-password", re.compile(r"(?i)\blogin\s+\S{1,80}\s+password\s+([^\s«]{8,})")),
    (
        "database-password",
        re.compile(
            r"\b(?:mysql|mariadb|sshpass)[a-z-]{0,12}\b[^\n|;&]{0,200}?\s-p([^\s\"'«$]{8,})"
        ),
    ),
)
"""What a program is given as who it speaks for."""
_KEYWORD = re.compile(
    r"(?i:(?:api|access|private|signing|encryption|auth|account)[_-]?key|secret|token|passw(?:or)?d"
    r"|passphrase|credential)s?|[A-Z0-9]_KEY(?![A-Za-z])"
    r"|(?:(?i:(?<![A-Za-z])pwd)|(?<=[A-Z0-9]_)PASS"
    r"|(?i:db|user|smtp|mail|root|admin|redis|ftp)[_-]?(?i:pass))(?![A-Za-z])"
)
_PIECE = re.compile("key|secret|token|passphrase|passw|pass|pwd|credential")
"""One of these is in each of them, in lower case."""
_LONGEST_WORD = 16

_ASSIGNED = re.compile(
    r"""(?P<rest>(?:[_-][A-Za-z0-9_-]{0,40}|[0-9]{0,3}|[A-Z][A-Za-z0-9_]{0,40}))["']?"""
    r"""(?:\s{0,8}[:=]>?|>|\s{1,3}is\b)\s{0,8}"""
    r"""(?:(?P<quote>["'])(?P<quoted>[^"'\n]{8,400})(?P=quote)"""
    r"""|["']?(?P<bare>[A-Za-z0-9_\-+/=.~!@#$%^&*]{8,}))"""
)
_NO_SECRET = re.compile(
    r"(?i)(?:file|path|dir|url|uri|id|name|type|field|prefix|expir\w*|ttl|count|limit|len|length"
    r"|size|age|at|date|time|timeout|secs|seconds|policy|store|class)$"
)
"""Ends of names that speak of a secret and hold none: ``token_count``, ``KEY_FILE``."""
_CODE = re.compile(r"[./]*[A-Za-z_]+(?:[./:_@-]+[A-Za-z_]+)*/?")
"""Plain names and paths: what programs assign is mostly one, and no secret."""
_NUMBER = re.compile(r"[\d.,:/TZ+-]+")
_EMPTY = re.compile(
    r"(?i)(?:your|my[_-]|example|placeholder|change[_-]?me|dummy|x{4,}|\*{4,}|\.{3,})"
)
"""How values begin that stand for one to be filled in."""
_ENV_LINE = re.compile(r"(?m)^[ \t]*(?:export[ \t]+)?([A-Za-z_]\w{0,60})[ \t]*=[ \t]*(\S.{5,})$")
_KEY_LINE = re.compile(r"(?m)^[A-Za-z0-9+/=]{16,}$")
_NAME_CHAR = re.compile(r"[\w-]")
_NETRC = re.compile(r"\bpassword\s+(\S{6,})")
_LAST_FIELD = re.compile(r"(?m)^[^#\s:][^\n]*:([^\s:]{6,})\s*$")

Found = dict[str, str]
"""Secret values, each with the name it goes by."""


def reference(name: str) -> str:
    """What stands in a secret's place."""
    return f"«secret:{re.sub(r'[^A-Za-z0-9_.-]', '_', name)[:_MAX_NAME] or 'value'}»"


def find_secrets(text: str, *, config: bool = False) -> Found:
    """The secrets in a text. ``config``: it is a configuration, in which a plain word behind a
    telling name is a value and not a variable's name.
    """
    found: Found = {}
    for name, pieces, form in _FORMS:
        if any(piece in text for piece in pieces):
            for match in form.finditer(text):
                found.setdefault(match[0], name)
    for match in _URL_PASSWORD.finditer(text) if "://" in text else ():
        if len(match[2]) >= MIN_SECRET_CHARS:
            found.setdefault(match[2], "url-password")
    for name, form in _SENT:
        for match in form.finditer(text):
            if _mixed(match[1]):
                found.setdefault(match[1], name)
    for value, name in _named(text, config=config):
        found.setdefault(value, name)
    return found


def secrets_of_file(path: str, text: str) -> Found:
    """The secrets of a file that is there to hold some (``.env``, ``.netrc``, ``*.pem``)."""
    found = find_secrets(text, config=True)
    base = path.rsplit("/", 1)[-1].lower()
    if base.startswith(".env"):
        found |= dict(_env_values(text)) | found
    elif base == ".netrc":
        found |= dict.fromkeys(_NETRC.findall(text), "netrc-password")
    elif base in (".pgpass", ".htpasswd"):
        found |= dict.fromkeys(_LAST_FIELD.findall(text), f"{base[1:]}-password")
    elif "PRIVATE KEY" in text:
        found |= dict.fromkeys(_KEY_LINE.findall(text), "private-key")
    return found


def replace(text: str, found: Mapping[str, str]) -> str:
    """The text with a reference in the place of each of these values, and of each password in a
    URL, be it as short as it may.
    """
    if "://" in text:
        text = _URL_PASSWORD.sub(rf"\1{reference('url-password')}\3", text)
    pattern = either(found)
    return text if pattern is None else pattern.sub(lambda match: reference(found[match[0]]), text)


def either(values: Iterable[str]) -> re.Pattern[str] | None:
    """Matches any of the values, the longest first: one may begin with another."""
    parts = sorted(map(re.escape, values), key=len, reverse=True)
    return re.compile("|".join(parts)) if parts else None


def _named(text: str, *, config: bool) -> Iterator[tuple[str, str]]:
    """Values behind telling names. Looks from the name on, so that long texts cost no more."""
    for word in _keywords(text):
        match = _ASSIGNED.match(text, word.end())
        if match is None or text[match.end() : match.end() + 1] == "(":
            continue
        name = _before(text, word.start()) + word[0] + match["rest"]
        value = match["quoted"] or match["bare"].rstrip(".")
        if not _NO_SECRET.search(match["rest"]) and _is_value(value, word[0], config=config):
            yield value, name.strip("_-")


def _keywords(text: str) -> Iterator[re.Match[str]]:
    """Where telling names are. Found by pieces of them first, which is ten times as fast."""
    low = text.lower()
    if len(low) != len(text):
        yield from _KEYWORD.finditer(text)  # a few letters are two in lower case
        return
    done = 0
    for piece in _PIECE.finditer(low):
        if piece.end() <= done:
            continue
        start = max(done, piece.start() - _LONGEST_WORD)
        near = _KEYWORD.search(text, start, piece.end() + 4)
        # Once more, so that what follows behind the part looked at has its say.
        word = near and _KEYWORD.match(text, near.start())
        if word is not None:
            done = word.end()
            yield word


def _env_values(text: str) -> Iterator[tuple[str, str]]:
    """Whole values of a ``.env`` file: those with telling names, and those that look random."""
    for match in _ENV_LINE.finditer(text):
        name, value = match[1], match[2].strip()
        if value[0] in "\"'" and value[-1] == value[0]:
            value = value[1:-1]
        named = _KEYWORD.search(name) is not None and not _NO_SECRET.search(name)
        if value and (named or (re.fullmatch(r"[\w+/=~-]{16,}", value) and _mixed(value))):
            yield value, name


def _before(text: str, end: int) -> str:
    """The part of a name that stands before a position."""
    start = end
    while start > max(0, end - _MAX_NAME) and _NAME_CHAR.match(text, start - 1):
        start -= 1
    return text[start:end]


def _is_value(value: str, word: str, *, config: bool) -> bool:
    if (
        len(value) < MIN_SECRET_CHARS
        or value.startswith(("$", "%", "«", "<", "{"))
        or _EMPTY.match(value)
    ):
        return False
    if word.lower() == "pwd" and value.startswith(("/", "~", ".")):
        return False  # the folder that one is in
    if any(char.isspace() for char in value):
        # Words between quotes are mostly an explanation.
        return word.lower().startswith("pass") and (config or _mixed(value))
    return config or not (_CODE.fullmatch(value) or _NUMBER.fullmatch(value))


def _mixed(value: str) -> bool:
    return any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
