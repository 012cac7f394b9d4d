"""Files that hold keys by their names: the guard and taint ask here."""

from __future__ import annotations

import re

from llmos_workers.execution.tools.globs import glob_pattern

NAMES = (
    *(".env", ".env.*", "*.pem", "*.p12", "*.pfx", "*.jks", "*.keystore", ".netrc", ".pypirc"),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".npmrc", ".pgpass"),
    *(".git-credentials", ".htpasswd"),
)
"""Globs of a file's own name, lower case; names are compared without their case."""

SECRET_GLOBS = tuple(f"**/{name}" for name in NAMES)
"""The same for paths of a project."""

SECRET_FILE = re.compile(
    f"(?:.*/)?(?:{'|'.join(glob_pattern(name).pattern for name in NAMES)})", re.IGNORECASE
)
"""The same for whole paths of any kind; use ``fullmatch``."""
