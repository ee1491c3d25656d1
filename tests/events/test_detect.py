"""A format is told from a file's bytes; a suffix that says otherwise is worth a word."""

import gzip
import pickle

import event_files as ef
import formats
import numpy as np
import pytest
from event_files import EVENTS, EXAMPLES

from dvsprep.errors import FormatError
from dvsprep.events import detect as module
from dvsprep.events.catalog import BYTES, CONTAINERS, PATHS, geometry
from dvsprep.events.detect import SUFFIXES, TITLES, detect, say_suffix


def written(folder, data: bytes, name: str = "recording.xyz"):
    path = folder / name
    path.write_bytes(data)
    return path


DETECTED = {"dat-v1": "dat", "dat-v2": "dat", "es-imagenet-npz-ms": "es-imagenet-npz"}


@pytest.mark.parametrize("example", [e for e in EXAMPLES if str(e) != "dat-v2-headerless"], ids=str)
def test_every_format_with_a_header_is_recognised_under_any_name(example, tmp_path):
    path = written(tmp_path, example.write(EVENTS, tmp_path))
    assert detect(path) == DETECTED.get(example.format, example.format)


def test_containers_and_aedat_are_recognised_too(tmp_path):
    assert detect(ef.shd(tmp_path / "a", [([0.1], [1])], [0])) == "spikes-h5"
    assert detect(ef.ntidigits(tmp_path / "b", {"train": {"a-1": ([0.1], [1])}, "test": {}})) == "ntidigits-h5"
    images = ef.idx(np.zeros((1, 1, 1)), [0], tmp_path)
    assert detect(images) == "smnist-idx"
    assert detect(written(tmp_path, gzip.compress(images.read_bytes()))) == "smnist-idx"
    assert detect(written(tmp_path, formats.aedat31(formats.events(5, 9, 9)))) == "aedat3.1"
    assert detect(written(tmp_path, formats.aedat2(formats.events(5, 9, 9)))) == "aedat2-dvs128"


def test_headerless_files_are_guessed_by_suffix_and_size_only(tmp_path):
    atis, dat = formats.atis(formats.events(3, 9, 9, start=100)), ef.dat(EVENTS, header="")
    assert detect(written(tmp_path, atis, "00002.bin")) == "atis"
    assert detect(written(tmp_path, dat, "user01.dat")) == "dat"
    with pytest.raises(FormatError, match=r"a headerless \.bin has records of 5 bytes, this file has 14 bytes"):
        detect(written(tmp_path, atis[:-1], "00002.bin"))
    with pytest.raises(FormatError, match="an unknown format: it starts with "):
        detect(written(tmp_path, atis, "00002.xyz"))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "the file is empty"),
        (b"#!AER-DAT1.0\r\n", "AEDAT 1.0, which is not read here .*jAER converts"),
        (b"#!AER-DAT3.0\r\n", "AEDAT 3.0, which is not read here"),
        (b"#ROSBAG V2.0\n", "a ROS bag, which is not read here"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        (b"Rar!\x1a\x07\x01", "a RAR archive, .*extract it first"),
        (b"<!doctype html><title>Sign in", "a web page, .*the download failed"),
        (gzip.compress(b"hello", mtime=0), "a gzip file, which is not read here"),
        (ef.npz(a=np.zeros(3)), "a zip archive without arrays t, x, y, p or pos, neg"),
        (ef.mat(a=np.zeros(3)), "MATLAB variables a; expected ts, x, y, pol or spiketrain"),
        (b"MATLAB 7.3 MAT-file" + bytes(200), "a MATLAB 7.3 file"),
        (
            b"% Version 2\n\x0c\x10",
            "header lines as of Prophesee, but neither an EVT version nor DAT events of 8 bytes",
        ),
        (b"\x00\x01\x02\xff\xfe", r"an unknown format: it starts with 00 01 02 ff fe \(read here: AEDAT"),
        (b"hello world", "an unknown format: it starts with 'hello world'"),
        (ef.npy(np.zeros((3, 4)) + 0.5), r"a NumPy array of float64\[3, 4\], which could mean anything"),
    ],
)
def test_what_is_not_read_says_what_it_is_and_what_to_do(tmp_path, data, says):
    with pytest.raises(FormatError, match=f"recording.xyz: {says}"):
        detect(written(tmp_path, data))


def test_unknown_hdf5_is_named(tmp_path):
    import h5py

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["something"] = 1
    with pytest.raises(FormatError, match="HDF5 of an unknown layout"):
        detect(tmp_path / "a.h5")


def test_detecting_a_pickle_runs_nothing(tmp_path):
    header = ef.bullying(EVENTS)
    header = header[: header.index(b"\n") + 1]
    path = written(tmp_path, header + pickle.dumps(pytest.fail))
    assert detect(path) == "bullying10k-npy"


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.aedat", ef.evt3(EVENTS), "a.aedat: named .aedat, but holds Prophesee EVT 3"),
        ("a.raw", ef.dat(EVENTS), "a.raw: named .raw, but holds Prophesee DAT"),
        ("a.DAT", ef.evt2(EVENTS), "a.DAT: named .DAT, but holds Prophesee EVT 2"),
        ("a.aedat4", formats.aedat31(formats.events(5, 9, 9)), "a.aedat4: named .aedat4, but holds AEDAT 3.1"),
        ("a.raw", ef.evt3(EVENTS), None),
        ("a.aedat", formats.aedat31(formats.events(5, 9, 9)), None),
        ("a.whatever", ef.evt3(EVENTS), None),
    ],
)
def test_suffix_that_lies_is_said(tmp_path, name, data, says):
    path = written(tmp_path, data, name)
    assert say_suffix(path, detect(path)) == says


def test_dataset_variants_do_not_count_as_lies(tmp_path):
    assert say_suffix(written(tmp_path, ef.dat(EVENTS), "user01.dat"), "navgesture-dat") is None
    assert say_suffix(written(tmp_path, ef.columns(EVENTS), "a.npz"), "hardvs-npz") is None


def test_every_name_in_the_tables_is_a_format_with_a_reader():
    known = {*BYTES, *PATHS, *CONTAINERS}
    assert set(TITLES) <= known
    assert {name for names in SUFFIXES.values() for name in names} <= known
    assert known <= {*TITLES, *module.VARIANTS}


def test_geometry_is_told_where_the_file_states_it(tmp_path):
    assert geometry(written(tmp_path, ef.evt3(EVENTS)), "evt") == (10, 12)
    assert geometry(written(tmp_path, ef.es(EVENTS)), "es") == (10, 12)
    assert geometry(written(tmp_path, ef.dat(EVENTS, header="% Height 10\n% Width 12\n")), "dat") == (10, 12)
    assert geometry(written(tmp_path, ef.dat(EVENTS)), "dat") is None
    assert geometry(written(tmp_path, ef.text(EVENTS)), "text") is None
