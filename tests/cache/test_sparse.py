"""Deflate for bytes that are mostly zeros: any zlib gets the same bytes back."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dvsprep.cache import _kernels_deflate, sparse
from dvsprep.cache.codec import Packing

BLOCKS = st.sampled_from([sparse.BLOCK, 2000, 1 << 15])
DTYPES = st.sampled_from([np.uint8, np.uint16, np.uint32])


@st.composite
def sparse_bytes(draw, most=1 << 17):
    """Bytes that are mostly zeros: lengths around the words and runs that the kernels know, any kind of values."""
    n = draw(
        st.one_of(st.integers(1, 400), st.sampled_from([4096, 65_536 + 63, 65_536 + 259, most]), st.integers(1, most))
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    raw = np.zeros(n, np.uint8)
    places = rng.integers(0, n, int(n * 10 ** -draw(st.floats(0, 5))))
    raw[places] = {
        "counts": lambda: np.minimum(rng.geometric(0.5, places.size), 255),
        "any": lambda: rng.integers(0, 256, places.size),
        "steep": lambda: 2.0 ** rng.uniform(0, 8, places.size),  # from frequent to very rare: long codes
        "one": lambda: np.ones(places.size),
    }[draw(st.sampled_from(["counts", "any", "steep", "one"]))]().astype(np.uint8)
    return raw


def packed(raw, block=sparse.BLOCK):
    """Return what compress makes of bytes, however few or dense they are, in blocks of ``block`` bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse, "SMALLEST", 1)
        patch.setattr(sparse, "MANY", 1 << 14)  # of more bytes only some are looked at
        patch.setattr(sparse, "BLOCK", block)
        (stream,) = sparse.compress(raw, most=1)
    return stream


@settings(deadline=None, max_examples=150)
@given(raw=sparse_bytes(), block=BLOCKS)
def test_zlib_gets_the_bytes_back(raw, block):
    stream = packed(raw, block)
    reader = zlib.decompressobj()
    assert reader.decompress(stream) + reader.flush() == raw.tobytes()
    assert reader.eof
    assert reader.unused_data == b""


@settings(deadline=None, max_examples=60)
@given(raw=sparse_bytes(), streams=st.integers(1, 9), block=BLOCKS)
def test_many_streams_at_once_hold_each_its_own_bytes(raw, streams, block):
    size = max(sparse.SMALLEST, raw.size // streams)
    raw = np.resize(raw, streams * size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse, "BLOCK", block)
        made = sparse.compress(raw, size, most=1)
    assert [zlib.decompress(stream) for stream in made] == [part.tobytes() for part in raw.reshape(streams, -1)]


@settings(deadline=None, max_examples=60)
@given(raw=sparse_bytes(), streams=st.integers(1, 9), block=BLOCKS, dense=st.integers(0, 8))
def test_each_of_many_streams_is_what_its_bytes_alone_make(raw, streams, block, dense):
    rows = np.resize(raw, (streams, max(sparse.SMALLEST, raw.size // streams)))
    if dense < streams:
        rows[dense] = np.random.default_rng(dense).integers(0, 256, rows.shape[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse, "BLOCK", block)
        assert sparse.compress_each(rows) == [(sparse.compress(row) or [b""])[0] for row in rows]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [30, 40])  # of one side: below the smallest that is looked at, and above
@pytest.mark.parametrize(
    "packing", [Packing(), Packing(deflates="all"), Packing(shuffles=True, deflates="all")], ids=str
)
def test_rows_packed_at_once_are_those_packed_alone(packing, size, dtype):
    rng = np.random.default_rng(0)
    arrays = (rng.random((5, 1, 2, size, size)) < 0.1).astype(dtype)
    arrays[3] = rng.integers(0, 256, arrays[3].shape)
    assert packing.pack_each(arrays) == [packing.pack(array[None], 1) for array in arrays]


@settings(deadline=None, max_examples=40)
@given(
    dtype=DTYPES,
    shape=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 60)),
    density=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_any_unsigned_array_comes_back_from_its_packing(dtype, shape, density, seed):
    rng = np.random.default_rng(seed)
    array = (rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True) * (rng.random(shape) < density)).astype(
        dtype
    )
    packing = Packing(shuffles=array.itemsize > 1, deflates="all")
    out = np.empty_like(array)
    packing.unpack(packing.pack(array, len(array)), out, len(array))
    np.testing.assert_array_equal(out, array)


@settings(deadline=None, max_examples=60)
@given(counts=st.lists(st.one_of(st.just(0), st.integers(1, 9), st.integers(1, 2**32)), min_size=2, max_size=286))
def test_codes_are_prefix_free_and_at_most_12_bits(counts):
    counts = np.array([*counts, 1], np.int64)
    lengths = np.empty_like(counts)
    _kernels_deflate.code_lengths(counts, lengths)
    assert ((lengths > 0) == (counts > 0)).all()
    assert lengths.max() <= _kernels_deflate.LONGEST
    kraft = sum(2.0 ** -int(bits) for bits in lengths if bits)
    assert kraft == (1 if np.count_nonzero(counts) > 1 else 0.5)  # complete, as zlib asks for
    order = np.argsort(counts, kind="stable")
    assert (np.diff(lengths[order][counts[order] > 0]) <= 0).all()  # what is more frequent is no longer


def test_frames_are_smaller_than_what_zlib_makes_of_their_runs():
    rng = np.random.default_rng(0)
    frames = np.where(rng.random(1 << 18) < 0.15, np.minimum(rng.geometric(0.5, 1 << 18), 255), 0).astype(np.uint8)
    (stream,) = sparse.compress(frames)
    runs = zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    assert len(stream) < 1.01 * len(runs.compress(frames) + runs.flush())


@settings(deadline=None, max_examples=30)
@given(full=st.booleans(), most=st.sampled_from([0, 2, 200, 2**16 - 1]), used=st.floats(0, 1), seed=st.integers(0, 99))
def test_zlib_gets_differences_of_times_back(full, most, used, seed):
    n = 1 << 16 if full else 1 << 10
    steps = np.zeros(n, np.uint16)
    steps[: int(used * n)] = np.random.default_rng(seed).integers(0, most, int(used * n), endpoint=True)
    planes = steps.view(np.uint8).reshape(n, 2).T.copy().reshape(-1)
    packing = Packing(shuffles=True, deflates="all")
    chunk = packing.deflate_times(planes)
    assert packing.is_deflated(chunk)
    assert zlib.decompress(chunk.data) == planes.tobytes()
    np.testing.assert_array_equal(packing.unpack_whole(chunk, steps.dtype, steps.shape), steps)


def test_full_chunks_of_times_are_streams_that_are_read_here():
    planes = np.zeros(sparse.WORTH_READING, np.uint8)
    planes[: planes.size // 2] = np.minimum(np.random.default_rng(0).geometric(0.3, planes.size // 2), 255)
    stream = Packing(shuffles=True, deflates="all").deflate_times(planes).data
    assert len(stream) < len(zlib.compress(planes, 1))
    sparse.load()
    out = np.empty_like(planes)
    assert sparse.decompress([stream], [out]) == [True]
    np.testing.assert_array_equal(out, planes)


def test_dense_or_few_bytes_are_left_to_the_library():
    assert sparse.compress(np.random.default_rng(0).integers(0, 256, 1 << 16).astype(np.uint8)) is None
    assert sparse.compress(np.zeros(sparse.SMALLEST - 1, np.uint8)) is None
    assert sparse.compress(np.zeros(sparse.SMALLEST, np.uint8)) is not None


@pytest.fixture
def reads_small(monkeypatch):
    monkeypatch.setattr(sparse, "WORTH_READING", 1)
    sparse.load()


def unpacked(stream, size, behind=0, beside=None):
    """Return what decompress makes of a stream, or None; the bytes around ``out`` stay, those behind do not count.

    ``beside`` is another stream and its bytes, which are read at the same time.
    """
    around = np.full(size + 128, 7, np.uint8)
    buffer = np.full(len(stream) + 64, behind, np.uint8)
    buffer[: len(stream)] = np.frombuffer(stream, np.uint8)
    streams, outs = [buffer[: len(stream)].data], [around[64 : 64 + size]]
    if beside is not None:
        streams.append(beside[0])
        outs.append(np.empty(len(beside[1]), np.uint8))
    done = sparse.decompress(streams, outs)
    if beside is not None:
        assert done[1]
        assert outs[1].tobytes() == beside[1].tobytes()
    assert (around[:64] == 7).all()
    assert (around[64 + size :] == 7).all()
    return around[64 : 64 + size].tobytes() if done[0] else None


@pytest.mark.usefixtures("reads_small")
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=sparse_bytes(), block=BLOCKS)
def test_own_streams_are_read(raw, block):
    stream = packed(raw, block)
    assert unpacked(stream, raw.size) == raw.tobytes()
    assert unpacked(stream, raw.size + 1) is None
    assert unpacked(stream, raw.size - 1) is None
    assert unpacked(stream + b"\0", raw.size) is None
    assert unpacked(stream[:-1], raw.size) is None


@pytest.mark.usefixtures("reads_small")
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=sparse_bytes(), other=sparse_bytes(), block=BLOCKS)
def test_two_streams_are_read_side_by_side(raw, other, block):
    stream, beside = packed(raw, block), (packed(other, block), other)
    assert unpacked(stream, raw.size, beside=beside) == raw.tobytes()
    assert unpacked(stream[:-1], raw.size, beside=beside) is None
    assert unpacked(stream, raw.size + 1, beside=beside) is None
    assert unpacked(b"\0" + stream[1:], raw.size, beside=beside) is None


@pytest.mark.usefixtures("reads_small")
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    raw=sparse_bytes(1 << 14),
    level=st.integers(0, 9),
    strategy=st.sampled_from([zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED]),
    of_ones=st.booleans(),
)
def test_streams_of_another_make_are_read_right_or_not_at_all(raw, level, strategy, of_ones):
    raw = raw + np.uint8(of_ones)  # runs of other bytes than zeros
    packer = zlib.compressobj(level, zlib.DEFLATED, 15, 9, strategy)
    stream = packer.compress(raw) + packer.flush()
    assert unpacked(b"\x78\x01" + stream[2:], raw.size) in (None, raw.tobytes())


@pytest.mark.usefixtures("reads_small")
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=sparse_bytes(1 << 14), damage=st.data())
def test_a_damaged_stream_is_never_read_and_nothing_outside_it_counts(raw, damage):
    stream = bytearray(packed(raw))
    for _ in range(damage.draw(st.integers(1, 3))):
        early = damage.draw(st.booleans())  # the head, which decides most, or anywhere
        at = damage.draw(st.integers(2, min(len(stream), 120) - 1 if early else len(stream) - 1))
        stream[at] ^= damage.draw(st.integers(1, 255))
    stream = bytes(stream[: damage.draw(st.integers(2, len(stream)))])
    whole = damage.draw(sparse_bytes(1 << 14))
    found = [unpacked(stream, raw.size, behind) for behind in (0, 255)]
    assert found[0] == found[1]
    assert unpacked(stream, raw.size, beside=(packed(whole), whole)) == found[0]
    if found[0] is not None:  # bits that do not count, behind the last symbol
        assert zlib.decompress(stream) == found[0]


def test_before_it_is_loaded_the_library_reads(monkeypatch):
    frames = np.zeros((1, sparse.WORTH_READING), np.uint8)
    frames[0, ::9] = 3
    packing = Packing(deflates="all")
    chunk = packing.pack(frames, 1)
    monkeypatch.setattr(sparse, "_inflate", None)
    assert sparse.decompress([chunk.data], [np.empty(frames.size, np.uint8)]) == [False]
    np.testing.assert_array_equal(packing.unpack_whole(chunk, frames.dtype, frames.shape), frames)
