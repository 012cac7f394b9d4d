"""The one place that signs and checks signatures: Ed25519 keys, and which of them are trusted.

``state/keys/signing.key`` is the private key (PKCS #8 PEM, readable by its owner only), made when
something is first signed; ``security.signing_key_file`` names another place, such as a mounted
secret. ``state/keys/trusted/<key id>.json`` are the public keys whose signatures count. All
workers of a fleet share them with the workspace. Neither lies where a tool could reach it, and a
private key never leaves this module.

A signature is text: ``ed25519:<key id>:<base64>``. What is signed starts with its kind, so that
a signature of one kind of thing is none of another.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from llmos_workers.contracts.errors import (
    ConfigError,
    InvalidOption,
    MalformedFile,
    WorkspaceUnwritable,
)
from llmos_workers.kernel.clock import Clock, SystemClock, iso
from llmos_workers.kernel.paths import give_to_owner_of
from llmos_workers.kernel.workspace import make_folder

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

log = logging.getLogger(__name__)

ALGORITHM = "ed25519"
KEY_ID = re.compile(r"[0-9a-f]{16}")
_RAW_BYTES = 32
_MAX_FILE = 16_384


class Verdict(StrEnum):
    """What a signature is worth."""

    GOOD = "good"
    MISSING = "missing"
    WRONG = "wrong"
    """By a trusted key, but not of this content; or no signature at all in form."""
    UNKNOWN_KEY = "unknown key"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key whose signatures count."""

    raw: bytes
    """32 bytes."""
    name: str = ""
    """Whose it is, in words."""
    added_at: str = ""

    @property
    def key_id(self) -> str:
        """16 hex digits of its sha256."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    @property
    def text(self) -> str:
        """The whole key as text, to be handed to another team."""
        return f"{ALGORITHM}:{base64.b64encode(self.raw).decode()}"

    @classmethod
    def parse(cls, text: str, *, name: str = "") -> PublicKey:
        """The key of ``text``. Raises InvalidOption."""
        algorithm, _, data = text.strip().partition(":")
        try:
            raw = base64.b64decode(data, validate=True)
        except ValueError:
            raw = b""
        if algorithm != ALGORITHM or len(raw) != _RAW_BYTES:
            raise InvalidOption(
                "this is no public key of llmos.",
                fix=f"It looks like {ALGORITHM}:… and is printed by: llmos keys show.",
            )
        return cls(raw, name)


@dataclass(frozen=True, slots=True)
class Trust:
    """The keys whose signatures count, as they are at one moment: for who checks many at once."""

    stamp: str
    """Another one as soon as keys are trusted or no longer."""
    known: Mapping[str, PublicKey]
    """By their ids."""

    def check(
        self, kind: str, content: bytes, signature: str, *, by: PublicKey | None = None
    ) -> Verdict:
        """What ``signature`` says of the content; ``by`` checks against that key alone."""
        if not signature:
            return Verdict.MISSING
        algorithm, _, rest = signature.partition(":")
        key_id, _, data = rest.partition(":")
        try:
            raw = base64.b64decode(data, validate=True)
        except ValueError:
            return Verdict.WRONG
        if algorithm != ALGORITHM or not KEY_ID.fullmatch(key_id):
            return Verdict.WRONG
        key = by if by is not None else self.known.get(key_id)
        if key is None or key.key_id != key_id:
            return Verdict.UNKNOWN_KEY
        return Verdict.GOOD if _holds(key, _message(kind, content), raw) else Verdict.WRONG


class KeyRing:
    """The signing key and the trusted keys of a workspace. Thread-safe.

    Nothing is read or made before it is needed. Methods that write raise WorkspaceUnwritable,
    those that need the private key ConfigError (the configured file) or MalformedFile.
    """

    def __init__(
        self, folder: Path, *, key_file: Path | None = None, clock: Clock | None = None
    ) -> None:
        """``folder`` holds trusted/, and the signing key unless ``key_file`` says where."""
        self.folder, self._configured = folder, key_file
        self.key_file = key_file or folder / "signing.key"
        self._clock = clock or SystemClock()
        self._lock = Lock()
        self._private: tuple[str, Ed25519PrivateKey] | None = None
        self._trusted: Trust | None = None

    # -- signing -------------------------------------------------------------------------------

    def sign(self, kind: str, content: bytes) -> str:
        """The signature of some content of a kind."""
        signature = self._key().sign(_message(kind, content))
        return f"{ALGORITHM}:{self.own().key_id}:{base64.b64encode(signature).decode()}"

    def check(
        self, kind: str, content: bytes, signature: str, *, by: PublicKey | None = None
    ) -> Verdict:
        """What ``signature`` says of the content; ``by`` checks against that key alone."""
        return self.trust_now().check(kind, content, signature, by=by)

    def own(self) -> PublicKey:
        """The public half of the signing key."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        raw = self._key().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return PublicKey(raw, "this workspace")

    @property
    def there(self) -> bool:
        """Whether a signing key has been made or configured."""
        return self.key_file.is_file()

    # -- trust ---------------------------------------------------------------------------------

    @property
    def stamp(self) -> str:
        """Changes whenever keys are trusted or no longer: verdicts under another are outdated."""
        try:
            names = ",".join(sorted(os.listdir(self.folder / "trusted")))  # noqa: PTH208
        except OSError:
            names = ""
        return f"{names}/{_stamp(self.key_file)}"

    def trusted(self) -> list[PublicKey]:
        """All keys whose signatures count, by id; the own one once it exists."""
        return [key for _, key in sorted(self.trust_now().known.items())]

    def trust_now(self) -> Trust:
        """The keys that are trusted at this moment."""
        stamp = self.stamp
        with self._lock:
            if self._trusted is not None and self._trusted.stamp == stamp:
                return self._trusted
        known = {key.key_id: key for key in self._read_trusted()}
        if self.there:
            with suppress(ConfigError, MalformedFile):
                own = self.own()
                known.setdefault(own.key_id, own)
        trust = Trust(stamp, known)
        with self._lock:
            self._trusted = trust
        return trust

    def trust(self, key: PublicKey) -> PublicKey:
        """From now on signatures of this key count."""
        added = PublicKey(key.raw, key.name, iso(self._clock.now()))
        data = {"key_id": key.key_id, "public_key": key.text, "name": key.name,
                "added_at": added.added_at}  # fmt: skip
        file = self._trust_file(key.key_id)
        _write(file, json.dumps(data, indent=2, ensure_ascii=False).encode() + b"\n", 0o644)
        return added

    def untrust(self, key_id: str) -> bool:
        """Signatures of the key no longer count. False: it was not trusted. Raises InvalidOption
        for the key that signs now.
        """
        if not KEY_ID.fullmatch(key_id):
            raise InvalidOption(f"{key_id!r} is no key id.", fix="See: llmos keys show.")
        if self.there and self.own().key_id == key_id:
            raise InvalidOption(
                f"{key_id} is the key that signs here.",
                fix="Make another one first: llmos keys rotate.",
            )
        try:
            self._trust_file(key_id).unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        return True

    def create(self) -> tuple[PublicKey, bool]:
        """The signing key, made when there is none; and whether it was made now."""
        made = not self.there
        return self.own(), made

    def rotate(self) -> tuple[PublicKey, PublicKey]:
        """Sign with a new key from now on: (the old one, the new one). What the old one signed
        still counts until it is untrusted. Raises InvalidOption for a configured key file.
        """
        if self._configured is not None:
            raise InvalidOption(
                f"the signing key is configured ({self._configured}); llmos does not replace it.",
                fix="Trust the old public key, then put the new private key there.",
            )
        old = self.own()
        self.trust(PublicKey(old.raw, old.name))
        _write(self.key_file, _new_private(), 0o600)
        new = self.own()
        self.trust(new)
        return old, new

    # -- inside --------------------------------------------------------------------------------

    def _trust_file(self, key_id: str) -> Path:
        return self.folder / "trusted" / f"{key_id}.json"

    def _read_trusted(self) -> Iterator[PublicKey]:
        for file in sorted((self.folder / "trusted").glob("*.json")):
            try:
                data = json.loads(_read(file))
                key = PublicKey.parse(str(data["public_key"]), name=str(data.get("name", "")))
            except (OSError, ValueError, KeyError, TypeError, InvalidOption, RecursionError):
                log.warning("%s is no trusted key and counts for nothing", file)
                continue
            if f"{key.key_id}.json" != file.name:
                log.warning("%s holds the key %s and counts for nothing", file, key.key_id)
                continue
            yield PublicKey(key.raw, key.name, str(data.get("added_at", "")))

    def _key(self) -> Ed25519PrivateKey:
        """The private key, read again when its file changed, made when there is none."""
        if not self.there:
            self._make()
        stamp = _stamp(self.key_file)
        with self._lock:
            if self._private is not None and self._private[0] == stamp:
                return self._private[1]
        key = self._load()
        with self._lock:
            self._private = (stamp, key)
        return key

    def _make(self) -> None:
        if self._configured is not None:
            raise ConfigError(
                f"security.signing_key_file: {self._configured} is not there.",
                fix="Make one with: openssl genpkey -algorithm ed25519 -out FILE",
            )
        if _write(self.key_file, _new_private(), 0o600, keep=True):
            self.trust(self.own())

    def _load(self) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(_read(self.key_file), password=None)
        except (OSError, ValueError, TypeError) as error:
            # The library's words never quote the key; still only their kind is told.
            raise MalformedFile(
                str(self.key_file),
                f"it is no private key that can be read ({type(error).__name__}).",
            ) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise MalformedFile(str(self.key_file), "it is a private key, but not of Ed25519.")
        return key


def _message(kind: str, content: bytes) -> bytes:
    return f"llmos/{kind}/1\n".encode() + content


def _holds(key: PublicKey, message: bytes, signature: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        _verifier(key.raw).verify(signature, message)
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=64)
def _verifier(raw: bytes) -> Ed25519PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return Ed25519PublicKey.from_public_bytes(raw)


def _new_private() -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MAX_FILE)


def _stamp(path: Path) -> str:
    try:
        facts = path.stat()
    except OSError:
        return "-"
    return f"{facts.st_mtime_ns}:{facts.st_size}:{facts.st_ino}"


def _write(path: Path, data: bytes, mode: int, *, keep: bool = False) -> bool:
    """Write a file in one step; with ``keep`` only where none is. False: one was there."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        make_folder(path.parent)
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        _give_to_owner(beside)
        try:
            if keep:
                os.link(beside, path)
            else:
                beside.replace(path)
        except FileExistsError:
            return False
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error
    return True


def _give_to_owner(file: Path) -> None:
    """A key that root makes belongs to the owner of its folder, or workers could not read it."""
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        give_to_owner_of(folder, file.name)
    finally:
        os.close(folder)


def _unwritable(path: Path, error: OSError) -> WorkspaceUnwritable:
    return WorkspaceUnwritable(
        f"{path} cannot be written: {error.strerror}.", fix="Make the workspace writable."
    )
