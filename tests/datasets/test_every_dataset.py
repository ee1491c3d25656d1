"""Every dataset from its archives to its frames: look-alikes in the published layout, and what real bytes we have."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import h5py
import lookalikes
import numpy as np
import pytest
from lookalikes import MAKERS, Lookalike, make, unpacked, write

from dvsprep import datasets, raw
from dvsprep.cache import EventCache, FrameCache
from dvsprep.errors import ArchiveError, DvsprepError, IntegrityError
from dvsprep.events import Policy, Recording, Sample, samples_of, spikes
from dvsprep.pipeline import Job, Options
from dvsprep.types import FrameSpec

NUMBER = FrameSpec("number", T=4)
SPECS = {"number": NUMBER, "time": FrameSpec("time", T=4), "duration": FrameSpec("duration", duration=10_000)}
UNVERIFIED = Options(verify=False, jobs=1, network=raw.Network(offline=True))
ONE_DIMENSIONAL = {"ntidigits": 64, "shd": 700, "smnist": 99, "ssc": 700}
BY_HAND = {"es-imagenet"}  # RAR parts, which only a person can unpack

# Where raw x = 3, y = 5 comes out, as (x, y); it stays unless told. docs/datasets.md tells the conventions.
TURNED = {
    "asldvs": (236, 174),  # 239 - x, 179 - y
    "cifar10dvs": (122, 124),  # 127 - y, 127 - x
    "mnist-dvs": (124, 122),  # 127 - x, 127 - y
    "pokerdvs": (124, 122),
    "navgesture-sit": (3, 234),  # 239 - y
    "navgesture-walk": (3, 234),
    "smnist": (98, 0),  # an image has no x and y; threshold 1 upward is channel 99 - 1
}


def adopt(root: Path, look: Lookalike) -> None:
    files = write(look, root / "files")
    dataset = datasets.get(look.name)
    raw.adopt(dataset.resources, files, root / look.name / "download", verify=False, warn=lambda _: None)


def adopt_folder(root: Path, look: Lookalike) -> None:
    folder = unpacked(look, root / "unpacked")
    raw.adopt_tree(folder, root / look.name / "extract")


def run(name: str, root: Path, spec: FrameSpec | None = NUMBER) -> Job:
    job = Job(name, root, spec, UNVERIFIED)
    job.run()
    return job


def frames(job: Job) -> dict[str, FrameCache]:
    return {split: FrameCache(path) for split, path in job.frames_paths().items()}


def histogram(events, channels: int, H: int, W: int) -> np.ndarray:
    counts = np.zeros((channels, H, W), np.int64)
    np.add.at(counts, (events["p"] if channels == 2 else 0, events["y"], events["x"]), 1)
    return counts


@pytest.fixture(scope="module", params=sorted(MAKERS))
def built(request, tmp_path_factory):
    """A look-alike, adopted and run to frames by number."""
    look, root = make(request.param), tmp_path_factory.mktemp(request.param)
    (adopt_folder if look.name in BY_HAND else adopt)(root, look)
    return look, root, run(look.name, root)


def test_every_built_in_dataset_has_a_look_alike_or_is_bundled():
    assert {*MAKERS, "sample"} == set(datasets.BUILT_IN)


def test_splits_ids_labels_and_classes_are_the_dataset_s_own(built):
    look, _, job = built
    assert set(look.samples) == set(datasets.get(look.name).splits)
    for split, cache in frames(job).items():
        expected = look.samples[split]
        assert cache.ids.tolist() == [id for id, _, _ in expected]
        assert cache.labels.tolist() == [label for _, label, _ in expected]
        assert tuple(cache.classes) == tuple(datasets.get(look.name).classes)
        assert len(set(cache.ids.tolist())) == len(expected)


def test_events_come_out_as_they_were_written(built):
    look, _, job = built
    for split, path in job.events_paths().items():
        cache = EventCache(path)
        for i, (_, _, expected) in enumerate(look.samples[split]):
            found, _ = cache[i]
            for key in "txyp":
                np.testing.assert_array_equal(found[key], expected[key], f"{split} {i} {key}")


def test_one_known_event_lies_where_the_dataset_s_orientation_says(built):
    look, _, job = built
    x, y = TURNED.get(look.name, (3, 0 if look.name in ONE_DIMENSIONAL else 5))
    for split, path in job.events_paths().items():
        first, _ = EventCache(path)[0]
        if look.name != "smnist" or split == "train":
            assert (first["x"][0], first["y"][0], first["p"][0]) == (x, y, 1)
        assert frames(job)[split][0][0][0, -1, y, x] >= 1, "ON is the last channel of the first frame"


@pytest.mark.parametrize("by", list(SPECS))
def test_frames_hold_every_event_once(built, by):
    look, root, _ = built
    H, W = datasets.get(look.name).sensor
    channels = 1 if look.name in ONE_DIMENSIONAL else 2
    for split, cache in frames(run(look.name, root, SPECS[by])).items():
        for i, (_, _, expected) in enumerate(look.samples[split]):
            counts, _ = cache[i]
            lasts = int(expected["t"][-1] - expected["t"][0])
            assert counts.shape == (4 if by != "duration" else max(1, -(-lasts // 10_000)), channels, H, W)
            np.testing.assert_array_equal(counts.sum(axis=0, dtype=np.int64), histogram(expected, channels, H, W))


@pytest.mark.parametrize("name", sorted(set(MAKERS) - BY_HAND))
def test_folder_that_a_person_unpacked_gives_the_same_frames(name, tmp_path):
    # Datasets of several archives too: their folders lie side by side.
    look = make(name)
    adopt_folder(tmp_path, look)
    for split, cache in frames(run(name, tmp_path)).items():
        assert cache.ids.tolist() == [id for id, _, _ in look.samples[split]]
        for i, (_, label, expected) in enumerate(look.samples[split]):
            counts, found = cache[i]
            channels, H, W = counts.shape[1:]
            assert found == label
            np.testing.assert_array_equal(counts.sum(axis=0, dtype=np.int64), histogram(expected, channels, H, W))
    assert not (tmp_path / name / "download").exists()


@pytest.mark.parametrize("name", sorted(ONE_DIMENSIONAL))
def test_one_dimensional_sensor_gives_frames_of_one_row_and_one_channel(name):
    dataset = datasets.get(name)
    assert (dataset.channels, *dataset.sensor) == (1, 1, ONE_DIMENSIONAL[name])


def test_bundled_sample_runs_from_its_file_urls(tmp_path, monkeypatch):
    monkeypatch.setenv("DVSPREP_OFFLINE", "1")
    job = Job("sample", tmp_path, NUMBER)
    job.run()
    found = frames(job)
    assert {split: len(cache) for split, cache in found.items()} == {"train": 72, "test": 24}
    assert found["test"][0][0].shape == (4, 2, 128, 128)


# --- what goes wrong


@pytest.mark.parametrize("name", sorted(set(MAKERS) - {"smnist", "ntidigits"} - BY_HAND))
def test_archive_of_other_things_is_an_error_that_names_it(name, tmp_path):
    look = make(name)
    archive = next(iter(look.archives))
    look.archives[archive] = {"readme.txt": b"nothing here"}
    adopt(tmp_path, look)
    with pytest.raises(ArchiveError, match=archive.split(".")[0]):
        run(name, tmp_path)
    assert not [*tmp_path.glob(f"{name}/events/*.h5"), *tmp_path.glob(f"{name}/frames/*.h5")]


@pytest.mark.parametrize("name", sorted(set(MAKERS) - BY_HAND))
def test_empty_file_is_an_error_that_names_it(name, tmp_path):
    look = make(name)
    archive = next(iter(look.archives))
    look.archives[archive] = b""
    adopt(tmp_path, look)
    with pytest.raises(DvsprepError, match=archive.split(".")[0]):
        run(name, tmp_path)


@pytest.mark.parametrize(
    ("name", "archive", "member", "says"),
    [
        ("ncaltech101", "Caltech101.zip", "Caltech101/Faces/image_0001.bin", "'Faces' is no class of ncaltech101"),
        ("dvslip", "DVS-Lip.zip", "DVS-Lip/train/hello/0.npy", "'hello' is no class of dvslip"),
        ("asldvs", "ICCV2019_DVS_dataset.zip", "j/j_0001.mat", "'j' is no class of asldvs"),
        ("navgesture-sit", "navgesture-sit.zip", "user01.dat", "'' is no class of navgesture-sit"),
        ("mnist-dvs", "grabbed_data3.zip", "strange.aedat", "'' is no class of mnist-dvs"),
        ("pokerdvs", "poker_dvs.tar.gz", "joker01.aedat", "names no pip"),
        ("dvs128-ms", "ibmGestureTest.tar.gz", "ibmGestureTest/user24_led/11.npy", "a label of 0 to 10"),
        (
            "ncars",
            "Prophesee_Dataset_n_cars.zip",
            "n-cars_train.zip!n-cars_train/trucks/a.dat",
            "'trucks' is no class of ncars",
        ),
    ],
)
def test_recording_of_an_unknown_class_is_an_error_that_names_it(name, archive, member, says, tmp_path):
    look = make(name)
    look.put(archive, member, b"x")
    adopt(tmp_path, look)
    with pytest.raises(ArchiveError, match=f"{Path(member).stem}.*{says}"):
        run(name, tmp_path)


@pytest.mark.parametrize(
    ("name", "archive", "lost", "says"),
    [
        ("hardvs", "", "val_label.txt", "val_label.txt: is missing"),
        ("es-imagenet", "ES-imagenet-0.18", "ES-imagenet-0.18/vallabel.txt", "holds no vallabel.txt"),
        ("dvs128", "DvsGesture.tar.gz", "DvsGesture/trials_to_test.txt", "holds no trials_to_test.txt"),
        ("smnist", "", "t10k-labels-idx1-ubyte.gz", "t10k-labels-idx1-ubyte.gz: is missing"),
        ("shd", "shd_test.h5.zip", "shd_test.h5", "holds no shd_test.h5"),
        ("ntidigits", "", "n-tidigits.hdf5", "holds no n-tidigits.hdf5"),
    ],
)
def test_file_that_an_unpacked_folder_lacks_is_named(name, archive, lost, says, tmp_path):
    look = make(name)
    place = look.archives[archive] if archive else look.archives
    del place[lost]
    look.archives["left.txt"] = b"so that the folder is not empty"
    adopt_folder(tmp_path, look)
    with pytest.raises(ArchiveError, match=says):
        run(name, tmp_path)


def test_hardvs_list_of_a_recording_that_is_not_there_names_file_and_line(tmp_path):
    look = make("hardvs")
    look.archives["val_label.txt"] += b"action_002/dvSave-nowhere 1\n"
    adopt(tmp_path, look)
    with pytest.raises(ArchiveError, match=r"val_label.txt:2: action_002/dvSave-nowhere is listed, but not in the"):
        run("hardvs", tmp_path)


def test_es_imagenet_s_rar_parts_are_for_a_person_to_unpack(tmp_path):
    dataset = datasets.get("es-imagenet")
    files = []
    for resource in dataset.resources:
        files.append(tmp_path / resource.name)
        files[-1].write_bytes(b"Rar!\x1a\x07")
    raw.adopt(dataset.resources, files, tmp_path / "es-imagenet" / "download", verify=False, warn=lambda _: None)
    with pytest.raises(ArchiveError, match=r"part01.rar: RAR parts have to be unpacked by hand .*dvsprep adopt es-"):
        run("es-imagenet", tmp_path)


def test_es_imagenet_by_time_with_8_frames_has_a_step_a_frame(tmp_path):
    look = make("es-imagenet")
    adopt_folder(tmp_path, look)
    for by in (FrameSpec("time", T=8), FrameSpec("duration", duration=999)):
        counts, _ = frames(run("es-imagenet", tmp_path, by))["train"][0]
        steps = look.samples["train"][0][2]["t"] // 1000
        assert counts.sum(axis=(1, 2, 3)).tolist() == [int((steps == k).sum()) for k in range(1, 9)]


def test_es_imagenet_s_function_in_the_docs_gives_a_frame_a_step(tmp_path):
    docs = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text()
    (tmp_path / "steps.py").write_text(docs.split("```python file=steps.py\n")[1].split("```")[0])
    look = make("es-imagenet")
    adopt_folder(tmp_path, look)
    cache = frames(run("es-imagenet", tmp_path, FrameSpec("plugin", plugin=f"{tmp_path / 'steps.py'}:steps")))["val"]
    for i, (_, _, expected) in enumerate(look.samples["val"]):
        for step in range(1, 9):
            here = {key: expected[key][expected["t"] == 1000 * step] for key in "txyp"}
            np.testing.assert_array_equal(cache[i][0][step - 1], histogram(here, 2, 256, 256))


def test_file_of_many_samples_is_opened_once_a_recording(tmp_path, monkeypatch):
    look = Lookalike("shd")
    made = [look.events("train", str(k), 0) for k in range(300)]
    path = tmp_path / "shd_train.h5"
    path.write_bytes(lookalikes.formats.spikes_h5(made, [0] * 300, ["zero"]))
    opened = []
    monkeypatch.setattr(h5py, "File", lambda *a, _open=h5py.File, **k: (opened.append(a), _open(*a, **k))[1])
    recording = Recording(path, "spikes-h5", "train", tuple(Sample(str(k), 0, key=str(k)) for k in range(300)))
    found = [events for _, events in samples_of(recording, (1, spikes.SHD_CHANNELS), Policy(), {})]
    assert len(opened) == 1
    np.testing.assert_array_equal(found[299]["t"], made[299]["t"])


def test_two_files_that_would_be_one_sample_are_an_error(tmp_path):
    look = make("ncars")
    look.put("Prophesee_Dataset_n_cars.zip", "n-cars_test.zip!n-cars_test/old/cars/obj_000002_td.dat", b"x")
    adopt(tmp_path, look)
    with pytest.raises(IntegrityError, match="ncars test: two recordings are the sample cars/obj_000002_td"):
        run("ncars", tmp_path)


# --- real recordings


def real_job(name: str, root: Path, files: list[Path]) -> dict[str, FrameCache]:
    dataset = datasets.get(name)
    raw.adopt(dataset.resources, files, root / name / "download", verify=False, warn=lambda _: None)
    return frames(run(name, root))


@pytest.mark.real
def test_real_nmnist_recordings(real_data, tmp_path):
    found = real_job("nmnist", tmp_path, [real_data / "nmnist-1100" / f for f in ("Train.zip", "Test.zip")])
    assert {split: len(cache) for split, cache in found.items()} == {"train": 1000, "test": 100}
    with zipfile.ZipFile(real_data / "nmnist-1100" / "Test.zip") as pack:
        files = sorted((Path(i.filename).stem, i) for i in pack.infolist() if i.filename.endswith(".bin"))
    for i, (id, info) in enumerate(files):
        counts, label = found["test"][i]
        assert (str(found["test"].ids[i]), label) == (id, int(Path(info.filename).parent.name))
        assert counts.sum() == info.file_size // 5


@pytest.mark.real
def test_real_gestures(real_data, tmp_path):
    archive = real_data / "dvs-gesture-10" / "DvsGesture.tar.gz"
    found = real_job("dvs128", tmp_path, [archive])
    assert {split: cache.labels.tolist() for split, cache in found.items()} == {
        "train": list(range(10)),
        "test": list(range(10)),
    }
    with tarfile.open(archive) as tar:
        assert any(name.endswith("user24_fluorescent.aedat") for name in tar.getnames())
    assert all(cache[i][0].sum() > 1000 for cache in found.values() for i in range(10))


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "archive", "member", "file", "sample", "events"),
    # Event counts from the recordings' README; ST-MNIST's matrix has as many columns, one event each.
    [
        ("ncaltech101", "Caltech101.zip", "Caltech101/Faces_easy/image_0435.bin", "ncaltech101-face.bin",
         ("all", "Faces_easy/image_0435", 1), 67_445),
        ("ncars", "Prophesee_Dataset_n_cars.zip", "n-cars_test.zip!n-cars_test/cars/obj_004395_td.dat", "ncars-car.dat",
         ("test", "cars/obj_004395_td", 1), 4_407),
        ("stmnist", "STMNIST dataset NUS Tee Research Group.zip", "data_submission/7/99.mat", "stmnist.mat",
         ("all", "7/99", 7), 2_346),
    ],
)  # fmt: skip
def test_real_recording_among_a_look_alike_s(name, archive, member, file, sample, events, real_data, tmp_path):
    look = make(name)
    look.put(archive, member, (real_data / "recordings" / file).read_bytes())
    split, id, label = sample
    cache = real_job(name, tmp_path, write(look, tmp_path / "files"))[split]
    at = cache.ids.tolist().index(id)
    assert len(cache) == len(look.samples[split]) + 1
    counts, found = cache[at]
    assert (int(counts.sum()), found) == (events, label)
