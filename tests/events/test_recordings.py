"""Real recordings of the wild, with the event counts of their README (read there with each format's own decoder)."""

from pathlib import Path

import numpy as np
import pytest

from dvsprep.events import Policy
from dvsprep.events.catalog import BYTES, PATHS, geometry
from dvsprep.events.detect import detect, say_suffix
from dvsprep.events.reading import load
from dvsprep.events.writers import WRITERS, write

pytestmark = pytest.mark.real

# file: format, events, sensor of the file itself, sensor to read it with
RECORDINGS = {
    "davis346.aedat4": ("aedat4", 78_830, (260, 346), None),
    "davis346-two-spots.aedat4": ("aedat4", 6_676, (260, 346), None),
    "sparks.evt2.raw": ("evt", 521_252, None, (480, 640)),
    "lamp.evt3.raw": ("evt", 1_218_618, (720, 1280), None),
    "lamp.gen4.dat": ("dat", 1_218_618, (720, 1280), None),
    "ncars-car.dat": ("dat", 4_407, None, (100, 120)),
    "poker-club.es": ("es", 2_628, (32, 30), None),
    "ncaltech101-face.bin": ("atis", 67_445, None, (180, 240)),
    "foam.aedat2.aedat": ("aedat2-dvs128", 1_575, None, (128, 128)),
    "stmnist.mat": ("stmnist-mat", 2_346, None, (10, 10)),
}


def read(path: Path, format: str, sensor):
    if format in PATHS:
        return PATHS[format][0](path, path.name, sensor, Policy()).events
    return BYTES[format][0](load(path), path.name, sensor, Policy()).events


@pytest.mark.parametrize("name", list(RECORDINGS))
def test_recording_is_recognised_and_holds_the_events_of_its_readme(real_data, name):
    path = real_data / "recordings" / name
    format, count, stated, sensor = RECORDINGS[name]
    assert detect(path) == format
    assert say_suffix(path, format) is None
    assert geometry(path, format) == stated
    events = read(path, format, sensor)
    assert len(events["t"]) == count
    assert (np.diff(events["t"]) >= 0).all()
    assert 0 < events["p"].mean() < 1


def test_lamp_is_the_same_in_evt_3_and_in_dat(real_data):
    folder = real_data / "recordings"
    evt, dat = read(folder / "lamp.evt3.raw", "evt", None), read(folder / "lamp.gen4.dat", "dat", None)
    for key in "xyp":
        np.testing.assert_array_equal(evt[key], dat[key])
    assert set((evt["t"] - dat["t"]).tolist()) == {11_194_368}  # README of the recordings


def test_st_mnist_matrix_is_what_scipy_reads(real_data):
    from scipy.io import loadmat

    from dvsprep.events.matlab import variables

    path = real_data / "recordings" / "stmnist.mat"
    np.testing.assert_array_equal(variables(load(path), "m")["spiketrain"], loadmat(path)["spiketrain"])


@pytest.mark.parametrize("format", list(WRITERS))
def test_real_events_survive_a_round_trip(real_data, tmp_path, format):
    events = read(real_data / "recordings" / "sparks.evt2.raw", "evt", (480, 640))
    part = {key: events[key][:20_000] for key in "txyp"}
    out = tmp_path / f"out{format}"
    write(part, out)
    again = read(out, detect(out), (480, 640))
    for key in "txyp":
        np.testing.assert_array_equal(again[key], part[key])
