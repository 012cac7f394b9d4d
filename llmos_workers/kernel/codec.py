"""``llmos-msgpack``: what travels between our own tasks, and into journals and trace caches.

One byte says how the rest is stored (0: msgpack, 1: msgpack in one zstd frame), so that large
texts are compressed and small ones are not. Whatever pack() takes, unpack() gives back:

- None, bool, int of up to 8,192 bits, float, str, bytes, list, and dict with any hashable keys;
- datetime with a time zone (the same instant, in UTC), UUID, Decimal, set, frozenset;
- a tuple comes back as a list, except as a key or inside a set, where it stays a tuple.

Anything else, and anything past MAX_BYTES, is a CodecError on the sender's side, where it can
still be fixed; hostile or broken bytes are a CodecError on the reader's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal, DecimalException
from functools import partial
from typing import Any
from uuid import UUID

import msgpack
import zstandard

from llmos_workers.contracts.errors import CodecError

NAME = "llmos-msgpack"
CONTENT_TYPE = "application/x-llmos-msgpack"

MAX_BYTES = 16 * 1024 * 1024
"""Most bytes of packed msgpack, before compression, that are written or read."""

COMPRESS_FROM = 4_096
"""Bytes of msgpack from which zstd is tried."""

PLAIN, ZSTD = b"\x00", b"\x01"
MAX_INT_BYTES = 1_024
MAX_DECIMAL_CHARS = 4_096
MAX_NESTED_EXT = 16
"""Sets within sets: each level is a nested decoder with a stack of its own."""

EXT_UUID, EXT_DECIMAL, EXT_SET, EXT_FROZENSET, EXT_INT = 1, 2, 3, 4, 5

_UNPACK_FAULTS = (
    ValueError,
    TypeError,
    OverflowError,
    RecursionError,
    DecimalException,
    msgpack.exceptions.UnpackException,
)
_PACK_FAULTS = (ValueError, TypeError, OverflowError, RecursionError)


def pack(value: Any) -> bytes:
    """Encode. Raises CodecError for types it does not know and for more than MAX_BYTES."""
    try:
        body = _pack(value, 0)
    except _PACK_FAULTS as error:
        raise CodecError(f"cannot be packed: {error}.") from error
    if len(body) > MAX_BYTES:
        raise CodecError(
            f"{len(body):,} bytes are more than the {MAX_BYTES:,} a message may have.",
            fix="Put bulk data into a file and pass its name.",
        )
    if len(body) >= COMPRESS_FROM:
        frame: bytes = zstandard.ZstdCompressor(level=3).compress(body)
        if len(frame) < len(body):
            return ZSTD + frame
    return PLAIN + body


def unpack(data: bytes | bytearray | memoryview) -> Any:
    """Decode what pack() wrote. Raises CodecError for anything else, however malformed."""
    data = bytes(data)
    kind, body = data[:1], data[1:]
    if len(body) > MAX_BYTES:
        raise CodecError(f"{len(body):,} bytes are more than the {MAX_BYTES:,} allowed.")
    if kind == ZSTD:
        body = _decompress(body)
    elif kind != PLAIN:
        raise CodecError(f"the first byte {kind!r} is not one this codec writes.")
    try:
        return _unpack(body, 0)
    except _UNPACK_FAULTS as error:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise CodecError(f"not readable as {NAME}: {reason}.") from error


def register() -> None:
    """Make kombu, and with it Celery, know the codec under NAME. May be called again."""
    from kombu import serialization

    serialization.register(NAME, pack, unpack, CONTENT_TYPE, "binary")


def _decompress(frame: bytes) -> bytes:
    """The frame's content; the size it declares is checked before anything is allocated."""
    try:
        size = zstandard.get_frame_parameters(frame).content_size
        if not 0 <= size <= MAX_BYTES:
            raise CodecError(f"a frame that declares {size:,} bytes is not accepted.")
        if size == 0:
            raise CodecError("an empty frame is not one this codec writes.")
        decompressor = zstandard.ZstdDecompressor(max_window_size=2 * MAX_BYTES)
        body: bytes = decompressor.decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CodecError(f"not a zstd frame: {error}.") from error
    return body


def _pack(value: Any, depth: int) -> bytes:
    packed: bytes = msgpack.packb(
        value, default=partial(_to_ext, depth=depth), datetime=True, use_bin_type=True
    )
    return packed


def _to_ext(value: Any, depth: int) -> msgpack.ExtType:
    """msgpack's hook for what it does not know itself."""
    if isinstance(value, UUID):
        return msgpack.ExtType(EXT_UUID, value.bytes)
    if isinstance(value, Decimal):
        text = str(value)
        if len(text) > MAX_DECIMAL_CHARS:
            raise ValueError(f"a Decimal of {len(text):,} characters is too long")
        return msgpack.ExtType(EXT_DECIMAL, text.encode("ascii"))
    if isinstance(value, set | frozenset):
        code = EXT_SET if isinstance(value, set) else EXT_FROZENSET
        return msgpack.ExtType(code, _pack_members(value, depth + 1))
    if isinstance(value, int):  # msgpack's own integers end at 64 bits
        size = value.bit_length() // 8 + 1
        if size > MAX_INT_BYTES:
            raise ValueError(f"an int of {size:,} bytes is too long")
        return msgpack.ExtType(EXT_INT, value.to_bytes(size, "big", signed=True))
    if isinstance(value, datetime):
        raise TypeError("a datetime without a time zone names no instant")
    raise TypeError(f"{type(value).__qualname__} has no form on the wire")


def _pack_members(members: set[Any] | frozenset[Any], depth: int) -> bytes:
    """The members as one array, sorted by their bytes: equal sets make equal messages."""
    if depth > MAX_NESTED_EXT:
        raise ValueError(f"sets are nested more than {MAX_NESTED_EXT} deep")
    parts = sorted(_pack(member, depth) for member in members)
    return bytes(msgpack.Packer().pack_array_header(len(parts))) + b"".join(parts)


def _unpack(body: bytes, depth: int, *, as_keys: bool = False) -> Any:
    """Decode; ``as_keys`` makes every array a tuple, so that it can be a member of a set."""
    read: Callable[..., Any] = partial(
        msgpack.unpackb,
        body,
        ext_hook=partial(_from_ext, depth=depth),
        strict_map_key=False,
        timestamp=3,
        raw=False,
    )
    if as_keys:
        return read(use_list=False)
    with contextlib.suppress(TypeError):  # a list cannot be a key: read again, with tuples there
        return read(use_list=True)
    return read(use_list=True, object_pairs_hook=_dict_of_pairs)


def _dict_of_pairs(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    return {_hashable(key): value for key, value in pairs}


def _hashable(key: Any) -> Any:
    return tuple(_hashable(part) for part in key) if isinstance(key, list) else key


def _from_ext(code: int, data: bytes, depth: int) -> Any:
    if code == EXT_UUID:
        return UUID(bytes=data)
    if code == EXT_DECIMAL:
        if len(data) > MAX_DECIMAL_CHARS:
            raise ValueError("a Decimal is too long")
        return Decimal(data.decode("ascii"))
    if code == EXT_INT:
        if len(data) > MAX_INT_BYTES:
            raise ValueError("an int is too long")
        return int.from_bytes(data, "big", signed=True)
    if code in (EXT_SET, EXT_FROZENSET):
        return _read_members(code, data, depth + 1)
    raise ValueError(f"extension type {code} is not known")


def _read_members(code: int, data: bytes, depth: int) -> set[Any] | frozenset[Any]:
    if depth > MAX_NESTED_EXT:
        raise ValueError(f"sets are nested more than {MAX_NESTED_EXT} deep")
    members = _unpack(data, depth, as_keys=True)
    if not isinstance(members, tuple):
        raise TypeError("a set must hold an array")
    return set(members) if code == EXT_SET else frozenset(members)
