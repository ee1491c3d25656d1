"""The bundled sample: read here by a parser of its own, which shares nothing with dvsprep."""

import csv
import hashlib
import importlib.util
import io
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "sample_data"
ARCHIVE = FOLDER / "DvsGesture.tar.gz"
HEADER = struct.Struct("<hhiiiiii")
TRAIN = {"user01_fluorescent", "user02_fluorescent_led", "user03_lab"}
TRAIN |= {"user04_led", "user05_natural", "user06_fluorescent"}
TEST = {"user24_led", "user25_natural"}


def packets(data):
    """Yield (type, eventTSOverflow, eventValid, words) of every packet; check what the format promises."""
    lines, i = [], 0
    while not lines or lines[-1] != b"#!END-HEADER":
        end = data.index(b"\r\n", i)
        lines.append(data[i:end])
        i = end + 2
    assert lines[0] == b"#!AER-DAT3.1"
    assert all(line.startswith(b"#") for line in lines)
    while i < len(data):
        kind, source, size, offset, overflow, capacity, number, valid = HEADER.unpack_from(data, i)
        i += HEADER.size
        assert (source, offset) == (1, 4)
        assert size == {0: 8, 1: 8, 3: 36}[kind]
        assert 0 < number == capacity
        assert valid <= number
        yield kind, overflow, valid, np.frombuffer(data, "<u4", number * size // 4, i).reshape(number, -1)
        i += number * size
    assert i == len(data)


def decode(data):
    """Return t, x, y, p of the valid polarity events, (N, 4)."""
    pieces = []
    for kind, overflow, valid, words in packets(data):
        if kind != 1:
            continue
        kept = words[(words[:, 0] & 1) == 1].astype(np.int64)
        assert len(kept) == valid
        data_word, t = kept[:, 0], overflow << 31 | kept[:, 1]
        pieces.append(np.stack([t, data_word >> 17, data_word >> 2 & 0x7FFF, data_word >> 1 & 1], axis=1))
    return np.concatenate(pieces)


@pytest.fixture(scope="module")
def files():
    with tarfile.open(ARCHIVE) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}


@pytest.fixture(scope="module")
def make():
    spec = importlib.util.spec_from_file_location("sample_data_make", FOLDER / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows_of(files, name):
    table = list(csv.reader(io.StringIO(files[f"DvsGesture/{name}_labels.csv"].decode())))
    assert table[0] == ["class", "startTime_usec", "endTime_usec"]
    return [tuple(map(int, row)) for row in table[1:]]


def test_archive_is_the_one_of_md5sums():
    digest, name = (FOLDER / "MD5SUMS").read_text().split()
    assert name == ARCHIVE.name
    assert hashlib.md5(ARCHIVE.read_bytes()).hexdigest() == digest
    assert ARCHIVE.stat().st_size < 5_000_000


def test_layout_is_the_official_one(files):
    names = {f"DvsGesture/{name}{end}" for name in TRAIN | TEST for end in (".aedat", "_labels.csv")}
    lists = {"trials_to_train.txt", "trials_to_test.txt", "gesture_mapping.csv"}
    assert set(files) == names | {f"DvsGesture/{name}" for name in lists}
    for split, trials in (("train", TRAIN), ("test", TEST)):
        lines = files[f"DvsGesture/trials_to_{split}.txt"].decode().splitlines()
        assert sorted(lines) == sorted(f"{name}.aedat" for name in trials)
    mapping = files["DvsGesture/gesture_mapping.csv"].decode().splitlines()
    assert mapping[0] == "action,label"
    assert [int(line.rpartition(",")[2]) for line in mapping[1:]] == list(range(1, 12))


@pytest.mark.parametrize("name", sorted(TRAIN | TEST))
def test_recording_is_sound(files, name):
    events, rows = decode(files[f"DvsGesture/{name}.aedat"]), rows_of(files, name)
    t = events[:, 0]
    assert (np.diff(t) >= 0).all()
    assert (events[:, 1:3] < 128).all()
    assert sorted(label for label, _, _ in rows) == [1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 10, 11]
    edges = np.array([row[1:] for row in rows]).ravel()
    assert (np.diff(edges) > 0).all(), "rows overlap or run backwards"
    assert t[0] <= edges[0]
    assert edges[-1] <= t[-1]
    counts = np.diff(np.searchsorted(t, edges))
    assert counts[::2].min() > 3000
    assert counts[1::2].max() < 500, "only noise between the rows"


@pytest.mark.parametrize("name", sorted(TRAIN | TEST))
def test_recording_has_what_readers_stumble_on(files, name):
    found = list(packets(files[f"DvsGesture/{name}.aedat"]))
    assert {kind for kind, *_ in found} == {0, 1, 3}
    assert any(valid < len(words) for kind, _, valid, words in found if kind == 1)


def test_one_recording_crosses_the_31st_bit(files):
    crossing = []
    for name in sorted(TRAIN | TEST):
        overflows = [overflow for _, overflow, _, _ in packets(files[f"DvsGesture/{name}.aedat"])]
        assert overflows == sorted(overflows)
        if set(overflows) == {0, 1}:
            crossing.append(name)
            starts = [start for _, start, _ in rows_of(files, name)]
            assert starts[0] < 2**31 < starts[-1]
    assert crossing == ["user04_led"]


def test_made_again_it_is_the_same(files, make, tmp_path):
    for name, data in make.recording_files(4, "led", seed=0).items():
        (tmp_path / name).write_bytes(data)
    again = (tmp_path / "user04_led.aedat").read_bytes()
    np.testing.assert_array_equal(decode(again), decode(files["DvsGesture/user04_led.aedat"]))
    assert (tmp_path / "user04_led_labels.csv").read_bytes() == files["DvsGesture/user04_led_labels.csv"]


def test_another_seed_makes_other_events(files, make):
    events, rows = make.make_recording(1, seed=1)
    assert len(rows) == 12
    kept = events[events["valid"] == 1]
    assert not np.array_equal(kept["t"], decode(files["DvsGesture/user01_fluorescent.aedat"])[:, 0])
