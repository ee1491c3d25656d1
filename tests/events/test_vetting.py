"""HDF5 files that nobody vouches for: what crashes or hangs their reader is an error that names the file."""

import random
from pathlib import Path

import event_files as ef
import fuzz_child
import pytest

from dvsprep.errors import FormatError
from dvsprep.events import spikes, vetting
from dvsprep.events.detect import detect


@pytest.fixture
def shd(tmp_path) -> Path:
    return ef.shd(tmp_path / "a.h5", [([0.1, 0.2], [3, 4]), ([0.5], [699])], [0, 1])


def test_a_sound_file_is_what_it_is(shd, tmp_path):
    assert vetting.layout(shd) == spikes.layout(shd) == "spikes-h5"
    vetting.samples(shd)
    digits = ef.ntidigits(tmp_path / "b.h5", {"train": {"man-ae-z": ([0.1, 0.2], [3, 63])}, "test": {}})
    assert vetting.layout(digits) == "ntidigits-h5"
    vetting.samples(digits)


@pytest.mark.parametrize(
    ("child", "why"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "it crashes the HDF5 library (signal 11)"),
        ("raise MemoryError('too much')", "its reader ended with 1: MemoryError: too much"),
        ("import time; time.sleep(60)", "reading it does not end"),
    ],
)
@pytest.mark.parametrize("ask", [vetting.layout, vetting.samples, detect])
def test_what_becomes_of_the_reader_is_told(shd, monkeypatch, child, why, ask):
    monkeypatch.setattr(vetting, "_CHILD", child)
    monkeypatch.setattr(vetting, "SECONDS", 0.5 if "sleep" in child else 60)
    with pytest.raises(FormatError) as caught:
        ask(shd)
    assert str(caught.value) == f"{shd}: a damaged HDF5 file: {why}"


def test_what_the_child_refuses_is_refused_in_its_words(shd):
    shd.write_bytes(shd.read_bytes()[:-600])
    with pytest.raises(FormatError) as here:
        spikes.layout(shd)
    with pytest.raises(FormatError) as there:
        vetting.layout(shd)
    assert str(there.value) == str(here.value)


def test_nothing_in_the_current_folder_is_imported(shd, tmp_path, monkeypatch):
    (tmp_path / "dvsprep.py").write_text("raise SystemExit('mine')")
    monkeypatch.chdir(tmp_path)
    assert vetting.layout(shd) == "spikes-h5"


@pytest.mark.parametrize(("at", "value"), [(2489, 3), (1889, 127)])
def test_a_lie_about_a_type_that_crashes_libhdf5_does_not_crash_us(tmp_path, at, value):
    _, data = fuzz_child.whole_file("spikes-h5", tmp_path)
    path = tmp_path / "bad.h5"
    path.write_bytes(data[:at] + bytes([value]) + data[at + 1 :])  # segmentation fault of HDF5 2.0.0, h5py 3.16
    with pytest.raises(FormatError, match=r"bad\.h5: "):
        vetting.samples(path)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["spikes-h5", "ntidigits-h5"])
def test_any_damage_is_an_error_or_no_harm(tmp_path, which):
    _, data = fuzz_child.whole_file(which, tmp_path)
    rnd = random.Random(7)
    path = tmp_path / "bad.h5"
    for _ in range(80):
        path.write_bytes(fuzz_child.damaged(data, rnd))
        try:
            vetting.samples(path)
        except FormatError as error:
            assert str(path) in str(error)  # noqa: PT017
