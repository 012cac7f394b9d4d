"""``llmos keys show | create | rotate | trust | untrust``: whose signatures count."""

from __future__ import annotations

from typing import Any

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.output import emit, json_option
from llmos_cli.render import printable
from llmos_workers.kernel.app_seal import app_keys, apps_of
from llmos_workers.kernel.signing import KeyRing, PublicKey

for_app = click.option(
    "--app-of", "project", metavar="PROJECT",
    help="For the goals that another app sends to this project, and nothing else.",
)  # fmt: skip


@click.group()
def keys() -> None:
    """See and change whose signatures count.

    What llmos learns is signed with the key of the workspace. Traces that are not signed by a
    trusted key are neither followed nor shown to a model; see llmos traces approve. Needs the
    workspace on this machine.
    """


@keys.command()
@json_option
@click.pass_obj
def show(session: Session, as_json: bool) -> int:
    """Show the public key of this workspace, and trusted ones."""
    ring = session.client.keys
    own = ring.own() if ring.there else None
    others = [key for key in ring.trusted() if own is None or key.key_id != own.key_id]
    apps = {name: app_keys(ring.folder, name).trusted() for name in apps_of(ring.folder)}
    readable = _readable_by_others(ring)
    if as_json:
        trusted = [_data(key) for key in others]
        emit({"own": own and _data(own), "key_file": str(ring.key_file),
                       "readable_by_others": readable, "trusted": trusted,
                       "apps": {name: [*map(_data, apps[name])] for name in apps}})  # fmt: skip
        return Exit.SUCCEEDED
    lines = [
        f"signs:    {_line(own)}" if own else "signs:    no key yet; the first trace makes one",
        f"kept in:  {ring.key_file}",
        *(f"trusted:  {_line(key)}" for key in others),
        *(f"app:      {_line(key)}  sends goals to {name}" for name in apps for key in apps[name]),
    ]
    if readable:
        lines.append(f"warning:  others may read the private key; chmod 600 {ring.key_file}")
    print(printable("\n".join(lines)))
    return Exit.SUCCEEDED


@keys.command()
@json_option
@click.pass_obj
def create(session: Session, as_json: bool) -> int:
    """Make the signing key, if there is none.

    llmos does so by itself when it first signs.
    """
    key, made = session.client.keys.create()
    return _told("made" if made else "already there", key, as_json=as_json)


@keys.command()
@json_option
@click.pass_obj
def rotate(session: Session, as_json: bool) -> int:
    """Sign with a new key from now on.

    What the old one signed still counts, until llmos keys untrust. The old private key is gone.
    """
    old, new = session.client.keys.rotate()
    if not as_json:
        print(f"was       {old.key_id}, still trusted")
    return _told("signs now", new, as_json=as_json, was=old.key_id)


@keys.command()
@click.argument("public_key", metavar="KEY")
@click.option("--name", default="", help="Whose key it is, in words.")
@for_app
@json_option
@click.pass_obj
def trust(session: Session, public_key: str, name: str, project: str | None, as_json: bool) -> int:
    """Let signatures of the public key KEY count.

    It looks like ed25519:… (llmos keys show).

    Check with its owner, by another way than the one it came, that it is theirs.
    """
    ring = session.client.keys
    if project is not None:
        ring = app_keys(ring.folder, project)
    added = ring.trust(PublicKey.parse(public_key, name=name))
    return _told("trusted", added, as_json=as_json)


@keys.command()
@click.argument("key_id", metavar="ID")
@for_app
@json_option
@click.pass_obj
def untrust(session: Session, key_id: str, project: str | None, as_json: bool) -> int:
    """Let signatures of the key ID count no longer.

    Its traces wait for approval.
    """
    ring = session.client.keys
    if project is not None:
        ring = app_keys(ring.folder, project)
    gone = ring.untrust(key_id)
    if as_json:
        emit({"key_id": key_id, "was_trusted": gone})
    else:
        print(f"{key_id} {'is no longer trusted' if gone else 'was not trusted'}.")
    return Exit.SUCCEEDED


def _readable_by_others(ring: KeyRing) -> bool:
    return ring.there and bool(ring.key_file.stat().st_mode & 0o004)


def _line(key: PublicKey) -> str:
    since = f"since {key.added_at}" if key.added_at else ""
    told = ", ".join(part for part in (key.name, since) if part)
    return f"{key.key_id}  {key.text}" + (f"  ({told})" if told else "")


def _data(key: PublicKey) -> dict[str, Any]:
    return {"key_id": key.key_id, "public_key": key.text, "name": key.name,
            "added_at": key.added_at}  # fmt: skip


def _told(what: str, key: PublicKey, *, as_json: bool, **more: Any) -> int:
    if as_json:
        emit(_data(key) | {"what": what} | more)
    else:
        print(printable(f"{what:9} {_line(key)}"))
    return Exit.SUCCEEDED
