"""Signed goals, made by the very lines of docs/payload.md, which know nothing of llmos."""

from __future__ import annotations

import re
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from llmos_workers.kernel.signing import PublicKey

PAGE = (Path(__file__).parents[2] / "docs" / "payload.md").read_text()
LINES = re.search(r"```python\n(import base64.*?)\n\ntask_id, kwargs = ", PAGE, re.S)[1]


def a_key() -> tuple[bytes, PublicKey]:
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem, PublicKey(key.public_key().public_bytes_raw(), "the web shop")


def sealed(pem: bytes, fields: dict, hours: float = 1) -> tuple[str, dict]:
    names: dict = {}
    exec(LINES, names)
    return names["sealed"](pem, fields, hours)
