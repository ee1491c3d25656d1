"""Files of many samples: SHD and SSC, N-TIDIGITS18, and sequential MNIST; the published descriptions"""

import fcntl
import gzip
import struct

import event_files as ef
import numpy as np
import pytest
from event_files import NAME, rows
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dvsprep.errors import FormatError, LabelError, NotFoundError
from dvsprep.events import Policy, smnist, spikes
from dvsprep.events.catalog import CONTAINERS

SHD = [([0.0, 0.25, 1.5], [0, 699, 12]), ([0.5009765625], [3]), ([], [])]
DIGITS = {
    "train": {"man-ae-a-o": ([0.1, 0.2], [3, 63]), "man-ae-b-1z4": ([0.5], [0])},
    "test": {"woman-bf-a-z": ([0.25], [1]), "man-ae-a-9": ([0.125], [2])},
}


@pytest.fixture
def shd(tmp_path):
    return ef.shd(tmp_path / "shd_train.h5", SHD, [13, 2, 0])


@pytest.fixture
def digits(tmp_path):
    return ef.ntidigits(tmp_path / "n-tidigits.hdf5", DIGITS)


def one(path, key, reader=spikes.read_one, sensor=(1, 700), **policy):
    return rows(reader(path, key, NAME, sensor, Policy(**policy)))


def test_labels_are_the_file_s_own_numbers(shd):
    # SpikingJelly's frame mode would call them 5, 12 and 0: it sorts folder names as text.
    assert spikes.labels(shd) == [("0", 13), ("1", 2), ("2", 0)]


def test_class_names_travel_in_the_file(shd):
    assert spikes.shd_classes(shd) == ["zero", "one", "fünf"]


def test_half_precision_seconds_become_whole_microseconds(shd):
    # In half precision 0.5 * 1e6 is already infinite; 0.5009765625 s is 500976.5625 us.
    assert one(shd, "0") == [(0, 0, 0, 1), (250_000, 699, 0, 1), (1_500_000, 12, 0, 1)]
    assert one(shd, "1") == [(500_976, 3, 0, 1)]


def test_sample_without_spikes_is_an_error_that_names_it(shd):
    with pytest.raises(FormatError, match=f"^{NAME}: the recording holds no events"):
        one(shd, "2")


@pytest.mark.parametrize("key", ["3", "-1", "x", ""])
def test_unknown_sample_is_not_found(shd, key):
    with pytest.raises(NotFoundError, match="no sample"):
        one(shd, key)


def test_channel_beyond_the_sensor_is_an_error(shd):
    with pytest.raises(FormatError, match=r"event 1 lies outside the sensor of 64 x 1 \(width x height\)"):
        one(shd, "0", sensor=(1, 64))
    assert len(one(shd, "0", sensor=(1, 64), out_of_range="drop")) == 2


def test_spikes_out_of_order_are_an_error_or_sorted(tmp_path):
    path = ef.shd(tmp_path / "a.h5", [([0.5, 0.25], [1, 2])], [0])
    with pytest.raises(FormatError, match="time runs backward at event 1: 250000 us after 500000 us"):
        one(path, "0")
    assert [t for t, *_ in one(path, "0", unsorted="sort")] == [250_000, 500_000]


def test_fewer_labels_than_samples_are_an_error(tmp_path):
    path = ef.shd(tmp_path / "a.h5", SHD, [1, 2])
    with pytest.raises(LabelError, match=r"labels are uint16\[2\], expected one a sample: 3"):
        spikes.labels(path)


def test_single_digits_are_classes_as_in_tonic_and_sequences_are_words(digits):
    assert spikes.ntidigits_sequences(digits) == [
        ("train/man-ae-a-o", "o"),
        ("train/man-ae-b-1z4", "1z4"),
        ("test/woman-bf-a-z", "z"),
        ("test/man-ae-a-9", "9"),
    ]
    assert spikes.labels(digits) == [("train/man-ae-a-o", 0), ("test/woman-bf-a-z", 10), ("test/man-ae-a-9", 9)]
    assert spikes.labels(digits, "test") == [("test/woman-bf-a-z", 10), ("test/man-ae-a-9", 9)]


def test_ntidigits_samples_are_read_by_key(digits):
    assert one(digits, "train/man-ae-a-o", sensor=(1, 64)) == [(100_000, 3, 0, 1), (200_000, 63, 0, 1)]
    with pytest.raises(NotFoundError, match="no sample 'train/nobody'"):
        one(digits, "train/nobody", sensor=(1, 64))


@pytest.mark.parametrize("chunks", [None, (2,)])
def test_sample_that_claims_more_than_the_file_holds_is_refused_before_hdf5_asks_for_the_memory(tmp_path, chunks):
    path = ef.shd(tmp_path / "a.h5", SHD, [13, 2, 0], chunks=chunks)
    data = path.read_bytes()
    lengths = [n.to_bytes(4, "little") for n in (3, 1)]  # of samples 0 and 1, in descriptors 16 bytes apart
    at = [k for k in range(len(data)) if data[k : k + 4] == lengths[0] and data[k + 16 : k + 20] == lengths[1]]
    assert len(at) == 2  # times and units
    path.write_bytes(data[: at[0] + 16] + b"\xff\xff\xff\x7f" + data[at[0] + 20 :])
    with pytest.raises(FormatError, match=f"sample 1 claims 2147483647 spikes at byte {at[0] + 16}"):
        one(path, "1")
    assert len(one(path, "0")) == 3


def test_damaged_heap_is_refused_before_hdf5_walks_it_for_ever(tmp_path):
    path = ef.shd(tmp_path / "a.h5", SHD, [13, 2, 0])
    data = path.read_bytes()
    heap = data.index(b"GCOL", data.index(b"GCOL"))
    for at, value in ((heap + 24, b"\xb3"), (heap + 8, b"\xff" * 8), (heap, b"XCOL")):  # an object's size, the heap's
        path.write_bytes(data[:at] + value + data[at + len(value) :])
        with pytest.raises(FormatError, match=f"sample 0 lies in a damaged heap at byte {heap}"):
            one(path, "0")


def test_sample_name_without_digits_is_an_error(tmp_path):
    path = ef.ntidigits(tmp_path / "a.h5", {"train": {"man-ae-x7": ([0.1], [1])}, "test": {}})
    with pytest.raises(LabelError, match="train sample 'man-ae-x7' does not end in spoken digits"):
        spikes.labels(path)


def test_other_hdf5_and_no_hdf5_say_so(tmp_path):
    import h5py

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["something"] = 1
    with pytest.raises(FormatError, match="no dataset labels, spikes/times, spikes/units; found something"):
        spikes.labels(tmp_path / "a.h5")
    (tmp_path / "b.h5").write_bytes(b"<html>")
    with pytest.raises(FormatError, match="no HDF5 file: starts with b'<html>'"):
        spikes.labels(tmp_path / "b.h5")


def test_file_is_readable_while_another_program_has_it_locked(shd):
    with shd.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert len(spikes.labels(shd)) == 3


# --- sequential MNIST


def twin(pixels: list[int], channels: int = 99) -> list[tuple[int, int]]:
    """Follow one grey value at a time, in the words of the published descriptions; return (step, channel)."""
    h = channels // 2
    thresholds = [int(254 * k / (h - 1)) for k in range(h)]
    found = []
    for s, value in enumerate(pixels):
        if value == 255:
            found.append((s, 0))
        if s + 1 < len(pixels):
            after = pixels[s + 1]
            for k, threshold in enumerate(thresholds):
                if value < threshold <= after:
                    found.append((s, channels - k))
                if after < threshold <= value:
                    found.append((s, channels - (h + k)))
    return sorted((2 * s + copy, c) for s, c in found for copy in (0, 1))


def spikes_of(pixels) -> list[tuple[int, int]]:
    step, channel = smnist.encode(np.asarray(pixels, np.uint8))
    return list(zip(step.tolist(), channel.tolist(), strict=True))


def test_one_threshold_up_and_down_and_touch():
    assert spikes_of([0, 5]) == [(0, 98), (1, 98)]
    assert spikes_of([5, 4]) == [(0, 49), (1, 49)]
    assert spikes_of([255]) == [(0, 0), (1, 0)]


@settings(deadline=None, max_examples=100)
@given(hnp.arrays(np.uint8, st.integers(1, 30)))
def test_encoding_equals_its_twin(pixels):
    assert spikes_of(pixels) == twin(pixels.tolist())


def test_channels_1_50_and_99_never_fire():
    ramp = np.concatenate([np.arange(256), np.arange(255, -1, -1)])
    used = {channel for _, channel in spikes_of(ramp)}
    assert set(range(99)) - used == {1, 50}
    assert len(used) == 97


def test_images_are_samples_with_labels_beside_them(tmp_path):
    images = np.zeros((2, 2, 2), np.uint8)
    images[1, 0, 1] = 5
    path = ef.idx(images, [7, 3], tmp_path)
    assert smnist.labels(path) == [("0", 7), ("1", 3)]
    # Up at step 0, down at step 1, each twice, 1 ms a step.
    expected = [(0, 98, 0, 1), (1000, 98, 0, 1), (2000, 49, 0, 1), (3000, 49, 0, 1)]
    assert one(path, "1", smnist.read_one, (1, 99)) == expected
    with pytest.raises(FormatError, match="holds no events"):
        one(path, "0", smnist.read_one, (1, 99))


def test_gzipped_images_are_read_as_they_are(tmp_path):
    path = ef.idx(np.full((1, 1, 1), 255), [9], tmp_path)
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    packed = path.with_name(path.name + ".gz")
    assert smnist.labels(packed) == [("0", 9)]
    assert one(packed, "0", smnist.read_one, (1, 99)) == [(0, 0, 0, 1), (1000, 0, 0, 1)]


def test_changed_file_of_images_is_read_anew(tmp_path):
    path = ef.idx(np.full((1, 1, 1), 255), [9], tmp_path)
    assert len(smnist.labels(path)) == 1
    assert len(smnist.labels(ef.idx(np.full((3, 1, 1), 255), [9, 8, 7], tmp_path))) == 3


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "the header of 16 bytes has 0"),
        (b"\x00\x00\x08\x03", "truncated: the header of 16 bytes has 4"),
        (struct.pack(">IIII", 2049, 1, 1, 1) + b"a", r"the IDX magic number is 2049 \(labels\), expected 2051"),
        (struct.pack(">IIII", 2051, 2, 1, 1) + b"a", r"1 bytes from byte 16, expected 2 for \[2, 1, 1\]"),
        (b"\x1f\x8b\x08cut", "a damaged gzip file"),
    ],
)
def test_broken_idx_files_say_what_is_wrong(tmp_path, data, says):
    path = tmp_path / "x-images-idx3-ubyte"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=f"x-images-idx3-ubyte: {says}"):
        smnist.read_one(path, "0", NAME, (1, 99), Policy())


def test_labels_that_are_not_there_or_too_few_are_errors(tmp_path):
    path = ef.idx(np.zeros((2, 1, 1)), [1], tmp_path)
    with pytest.raises(LabelError, match="1 labels for 2 images"):
        smnist.labels(path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(NotFoundError, match="expected train-labels-idx1-ubyte"):
        smnist.labels(path)


# --- cut files of either kind


@pytest.mark.parametrize("format", list(CONTAINERS))
def test_cut_containers_are_refused_or_read_right(format, tmp_path):
    whole = {
        "spikes-h5": lambda: ef.shd(tmp_path / "w", SHD[:2], [0, 1]),
        "ntidigits-h5": lambda: ef.ntidigits(tmp_path / "w", DIGITS),
        "smnist-idx": lambda: ef.idx(np.arange(8).reshape(2, 2, 2) * 30, [1, 2], tmp_path),
    }[format]()
    data, container = whole.read_bytes(), CONTAINERS[format][0]
    key = container.labels(whole)[0][0]
    expected = one(whole, key, container.read_one, container.sensor)
    cuts = range(len(data)) if len(data) < 500 else [*range(0, 200, 7), *range(200, len(data), 97)]
    refused = 0
    for cut in cuts:
        whole.write_bytes(data[:cut])
        try:
            assert one(whole, key, container.read_one, container.sensor) == expected
        except FormatError:
            refused += 1
    assert refused == len(cuts)
