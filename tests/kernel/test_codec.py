"""llmos-msgpack: whatever it takes it gives back, and no bytes hurt it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import msgpack
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos_workers.contracts.errors import CodecError
from llmos_workers.kernel import codec

instants = st.datetimes(timezones=st.just(UTC))
atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(2**900), max_value=2**900)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | instants
    | st.uuids()
    | st.decimals(allow_nan=False)
)
keys = st.recursive(
    atoms, lambda inner: st.tuples(inner, inner) | st.frozensets(inner), max_leaves=4
)
values = st.recursive(
    atoms | st.sets(keys, max_size=4) | st.frozensets(keys, max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@given(values)
@settings(max_examples=300)
def test_round_trip(value: object) -> None:
    """Every value of the documented types comes back equal, types included."""
    back = codec.unpack(codec.pack(value))
    assert back == value
    assert type(back) is type(value)


@given(st.binary(max_size=400))
@settings(max_examples=500)
def test_hostile_bytes_end_in_a_value_or_a_codec_error(noise: bytes) -> None:
    """Noise, noise behind each valid first byte, and noise in a valid zstd frame."""
    frame = zstandard.ZstdCompressor().compress(noise)
    for data in (noise, b"\x00" + noise, b"\x01" + noise, b"\x01" + frame):
        try:
            codec.unpack(data)
        except CodecError:
            continue


@given(values, st.data())
@settings(max_examples=200)
def test_damaged_messages_end_in_a_value_or_a_codec_error(
    value: object, data: st.DataObject
) -> None:
    """One changed byte, or a cut anywhere."""
    packed = bytearray(codec.pack(value))
    place = data.draw(st.integers(0, len(packed) - 1))
    cut = bytes(packed[:place])
    packed[place] = data.draw(st.integers(0, 255))
    for damaged in (bytes(packed), cut):
        try:
            codec.unpack(damaged)
        except CodecError:
            continue


def test_a_tuple_becomes_a_list_but_stays_one_where_it_must_be_hashable() -> None:
    assert codec.unpack(codec.pack((1, (2, 3)))) == [1, [2, 3]]
    assert codec.unpack(codec.pack({(1, (2,)): (3,)})) == {(1, (2,)): [3]}
    assert codec.unpack(codec.pack([{(1, 2)}])) == [{(1, 2)}]


def test_int_keys_survive() -> None:
    """The case in which kombu's own msgpack loses a task silently."""
    assert codec.unpack(codec.pack({1: "a", 2: {3: "b"}})) == {1: "a", 2: {3: "b"}}


def test_an_instant_keeps_its_time_but_not_its_zone() -> None:
    there = datetime(2026, 11, 21, 12, 0, 0, 123456, timezone(timedelta(hours=5, minutes=30)))
    back = codec.unpack(codec.pack(there))
    assert back == there
    assert back.tzinfo is UTC


def test_equal_sets_make_equal_bytes() -> None:
    one, other = {0, 8}, {8, 0}  # equal, but iterated in another order
    assert list(one) != list(other)
    assert codec.pack(one) == codec.pack(other)


@pytest.mark.parametrize(
    "value",
    [
        datetime.fromisoformat("2026-01-01"),
        object(),
        {1: object()},
        "\ud800",
        2 ** (8 * 2000),
        Decimal("1" * 5000),
        timedelta(seconds=1),
        type,
    ],
    ids=["naive", "object", "nested", "surrogate", "int", "decimal", "timedelta", "class"],
)
def test_what_has_no_form_is_refused_when_it_is_sent(value: object) -> None:
    with pytest.raises(CodecError):
        codec.pack(value)


def test_cycles_and_deep_nesting_are_refused() -> None:
    deep: list[object] = []
    deep.append(deep)
    with pytest.raises(CodecError):
        codec.pack(deep)
    sets = frozenset({1})
    for _ in range(codec.MAX_NESTED_EXT + 2):
        sets = frozenset({sets})
    with pytest.raises(CodecError):
        codec.pack(sets)


def test_deeply_nested_hostile_sets_are_refused_before_the_stack_ends() -> None:
    body = msgpack.packb([])
    for _ in range(2000):
        body = msgpack.packb([msgpack.ExtType(codec.EXT_SET, body)])
    with pytest.raises(CodecError):
        codec.unpack(b"\x00" + body)


def test_large_texts_are_compressed_and_small_ones_are_not() -> None:
    small, large = codec.pack("a" * 1000), codec.pack("a" * 100_000)
    assert small[:1] == b"\x00"
    assert large[:1] == b"\x01"
    assert len(large) < 1000
    assert codec.unpack(large) == "a" * 100_000


def test_the_size_bound_holds_for_sender_and_reader() -> None:
    huge = b"x" * codec.MAX_BYTES
    with pytest.raises(CodecError, match="more than"):
        codec.pack(huge)
    with pytest.raises(CodecError, match="more than"):
        codec.unpack(b"\x00" + msgpack.packb(huge))


def test_a_small_frame_that_declares_a_huge_content_is_not_expanded() -> None:
    bomb = zstandard.ZstdCompressor(level=19).compress(b"\x00" * (codec.MAX_BYTES + 1))
    assert len(bomb) < 10_000
    with pytest.raises(CodecError, match="not accepted"):
        codec.unpack(b"\x01" + bomb)


def test_a_frame_that_hides_its_size_is_refused() -> None:
    writer = zstandard.ZstdCompressor(write_content_size=False)
    with pytest.raises(CodecError):
        codec.unpack(b"\x01" + writer.compress(codec.pack("x")[1:] * 2))


def test_foreign_first_byte_extension_and_trailing_bytes_are_refused() -> None:
    for data in (
        b"",
        b"\x02\xc0",
        b"\x00" + msgpack.packb(msgpack.ExtType(99, b"")),
        b"\x00\xc0\xc0",
        b"\x00" + msgpack.packb(msgpack.ExtType(codec.EXT_UUID, b"short")),
        b"\x00" + msgpack.packb(msgpack.ExtType(codec.EXT_DECIMAL, b"not a number")),
        b"\x00" + msgpack.packb(msgpack.ExtType(codec.EXT_SET, msgpack.packb({1: 2}))),
    ):
        with pytest.raises(CodecError):
            codec.unpack(data)


def test_kombu_speaks_it_once_registered() -> None:
    from kombu import serialization

    codec.register()
    content = {1: UUID(int=7), "when": datetime(2026, 1, 1, tzinfo=UTC)}
    content_type, encoding, body = serialization.dumps(content, serializer=codec.NAME)
    assert content_type == codec.CONTENT_TYPE
    assert serialization.loads(body, content_type, encoding, accept={codec.CONTENT_TYPE}) == content
