"""Where recordings lie in the extracted trees, what class they are, and in which order they come."""

import os
import random
from pathlib import Path

import formats
import pytest

from dvsprep import datasets
from dvsprep.datasets.dataset import files, find_folder
from dvsprep.errors import ArchiveError, LabelError

TRIALS = {"train": ["user02_led", "user01_fluorescent", "user10_lab"], "test": ["user24_led"]}


def layout(name: str, trees: dict[str, Path], instances="rows"):
    dataset = datasets.get(name)
    return dataset.layout(trees, dataset, instances)


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


@pytest.fixture
def shuffled(monkeypatch):
    """Make the file system give its entries in another order, as another machine's would; os.walk goes by it too."""
    scandir = os.scandir

    class Shuffled:
        def __init__(self, path="."):
            with scandir(path) as entries:
                found = list(entries)
            random.Random(str(path)).shuffle(found)
            self.entries = iter(found)

        def __iter__(self):
            return self.entries

        def __next__(self):
            return next(self.entries)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.close()

        def close(self):
            pass

    monkeypatch.setattr(os, "scandir", Shuffled)


@pytest.fixture
def gesture(tmp_path):
    formats.dvs_gesture(tmp_path / "tree", TRIALS, events_a_row=5)
    return tmp_path / "tree"


@pytest.fixture
def nmnist(tmp_path):
    train = touch(tmp_path / "a", "Train/9/00001.bin", "Train/0/00010.bin", "Train/5/00003.bin", "Train/5/00002.bin")
    test = touch(tmp_path / "b", "Test/1/00002.bin", "Test/7/00001.bin", "Test/7/.DS_Store")
    return {"Train.zip": train, "Test.zip": test}


@pytest.fixture
def cifar(tmp_path):
    classes = datasets.get("cifar10dvs").classes
    return {
        f"{name}.zip": touch(tmp_path / name, *(f"{name}/cifar10_{name}_{i}.aedat" for i in (0, 2, 10, 100, 99)))
        for name in classes
    }


def test_dvs128_takes_the_split_from_the_trial_lists_and_orders_by_name(gesture):
    recordings = layout("dvs128", {"DvsGesture.tar.gz": gesture})
    assert [(r.split, r.path.stem) for r in recordings] == [
        ("train", "user01_fluorescent"),
        ("train", "user02_led"),
        ("train", "user10_lab"),
        ("test", "user24_led"),
    ]
    assert {r.format for r in recordings} == {"aedat3.1"}
    assert recordings[0].labels == gesture / "DvsGesture" / "user01_fluorescent_labels.csv"


def test_dvs128_labels_are_csv_class_minus_one_never_a_place_among_sorted_names(gesture):
    # V9: as strings, the folders 0 to 10 sort as 0, 1, 10, 2, ...; "other gestures" became class 2 in SpikingJelly.
    recording = layout("dvs128", {"x": gesture})[0]
    assert [s.label for s in recording.samples] == [0, 1, 2, 3, 4, 5, 6, 7, 7, 8, 9, 10]
    classes = datasets.get("dvs128").classes
    assert classes[recording.samples[-1].label] == "other gestures"
    assert [classes[label] for label in (0, 2, 9)] == ["hand clapping", "left hand wave", "air guitar"]
    assert len(classes) == 11


@pytest.mark.parametrize(("instances", "samples"), [("rows", 12), ("first", 11), ("merged", 11)])
def test_dvs128_instances_choose_the_samples(gesture, instances, samples):
    for recording in layout("dvs128", {"x": gesture}, instances):
        assert len(recording.samples) == samples


def test_dvs128_sample_ids_are_unique_across_recordings(gesture):
    ids = [s.id for r in layout("dvs128", {"x": gesture}) for s in r.samples]
    assert len(set(ids)) == len(ids) == 48
    assert ids[0] == "user01_fluorescent_row01"


@pytest.mark.parametrize("lost", ["user02_led.aedat", "user02_led_labels.csv"])
def test_dvs128_file_that_is_listed_but_missing_is_named(gesture, lost):
    (gesture / "DvsGesture" / lost).unlink()
    with pytest.raises(ArchiveError, match=f"trials_to_train.txt: {lost} is listed, but not in the archive"):
        layout("dvs128", {"x": gesture})


def test_dvs128_recording_that_no_list_names_is_left_out(gesture):
    touch(gesture / "DvsGesture", "user99_lab.aedat", "user99_lab_labels.csv")
    assert "user99_lab" not in {r.path.stem for r in layout("dvs128", {"x": gesture})}


def test_dvs128_blank_lines_and_line_ends_of_a_trial_list_do_not_matter(gesture):
    (gesture / "DvsGesture" / "trials_to_test.txt").write_bytes(b"\r\nuser24_led.aedat\r\n\r\n")
    assert layout("dvs128", {"x": gesture})[-1].path.stem == "user24_led"


def test_dvs128_empty_or_missing_trial_list_is_named(gesture):
    (gesture / "DvsGesture" / "trials_to_test.txt").write_text("\n")
    with pytest.raises(ArchiveError, match=r"trials_to_test.txt: lists no recording"):
        layout("dvs128", {"x": gesture})
    (gesture / "DvsGesture" / "trials_to_test.txt").unlink()
    with pytest.raises(ArchiveError, match=r"holds no trials_to_test.txt"):
        layout("dvs128", {"x": gesture})


def test_dvs128_wrong_row_is_named_with_file_and_line(gesture):
    with (gesture / "DvsGesture" / "user24_led_labels.csv").open("a") as csv:
        csv.write("12,5,6\n")
    with pytest.raises(LabelError, match=r"user24_led_labels.csv:14: class 12 is unknown"):
        layout("dvs128", {"x": gesture})


def test_nmnist_takes_the_digit_from_the_folder_and_orders_by_number(nmnist):
    recordings = layout("nmnist", nmnist)
    assert [(r.split, r.samples[0].id, r.samples[0].label) for r in recordings] == [
        ("train", "00001", 9),
        ("train", "00002", 5),
        ("train", "00003", 5),
        ("train", "00010", 0),
        ("test", "00001", 7),
        ("test", "00002", 1),
    ]
    assert all(r.samples[0].windows is None for r in recordings)


@pytest.mark.parametrize("stray", ["Train/10/00004.bin", "Train/00004.bin", "Train/5/deeper/00004.bin"])
def test_nmnist_file_in_no_digits_folder_is_named(nmnist, stray):
    touch(nmnist["Train.zip"], stray)
    with pytest.raises(ArchiveError, match=r"00004.bin: lies in no folder of a digit"):
        layout("nmnist", nmnist)


def test_nmnist_tree_without_recordings_is_named(nmnist, tmp_path):
    with pytest.raises(ArchiveError, match=r"Test holds no .bin file"):
        layout("nmnist", nmnist | {"Test.zip": touch(tmp_path / "c", "Test/1/readme.txt")})
    with pytest.raises(ArchiveError, match="holds no Test"):
        layout("nmnist", nmnist | {"Test.zip": touch(tmp_path / "d", "readme.txt")})


def test_cifar10dvs_orders_by_class_then_by_number_not_by_its_digits(cifar):
    recordings = layout("cifar10dvs", cifar)
    assert [r.samples[0].id for r in recordings[:5]] == [f"cifar10_airplane_{i}" for i in (0, 2, 10, 99, 100)]
    assert [r.samples[0].label for r in recordings] == [label for label in range(10) for _ in range(5)]
    assert {r.split for r in recordings} == {"all"}
    # The order of CIFAR-10 itself, which is the alphabet's.
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    assert tuple(datasets.get("cifar10dvs").classes) == names


def test_cifar10dvs_leaves_out_what_is_no_recording_of_the_class(cifar):
    touch(cifar["cat.zip"], "cat/cifar10_dog_3.aedat", "__MACOSX/notes.txt", "cat/._cifar10_cat_7.aedat")
    assert len(layout("cifar10dvs", cifar)) == 50


def test_cifar10dvs_wrong_names_are_named(cifar, tmp_path):
    with pytest.raises(ArchiveError, match=r"holds no cifar10_dog_<i>.aedat"):
        layout("cifar10dvs", cifar | {"dog.zip": touch(tmp_path / "other", "dog/cifar10_cat_1.aedat")})
    touch(cifar["dog.zip"], "dog/cifar10_dog_copy.aedat")
    with pytest.raises(ArchiveError, match="cifar10_dog_copy: expected a name cifar10_<class>_<number>"):
        layout("cifar10dvs", cifar)


def test_order_never_depends_on_the_order_of_a_folder(gesture, nmnist, cifar, request):
    trees = {"dvs128": {"x": gesture}, "nmnist": nmnist, "cifar10dvs": cifar}
    before = {name: layout(name, tree) for name, tree in trees.items()}
    names_before = os.listdir(gesture / "DvsGesture")
    with os.scandir(gesture / "DvsGesture") as entries:
        assert [e.name for e in entries] == names_before
    request.getfixturevalue("shuffled")
    with os.scandir(gesture / "DvsGesture") as entries:
        assert [e.name for e in entries] != names_before, "the shuffle bites"
    assert {name: layout(name, tree) for name, tree in trees.items()} == before


def test_files_are_sorted_and_hidden_ones_left_out(tmp_path, shuffled):
    touch(tmp_path, "b/2.bin", "b/1.bin", "a/9.bin", ".hidden/3.bin", "a/.4.bin", "c.bin", "a/5.txt")
    assert [str(p.relative_to(tmp_path)) for p in files(tmp_path, ".bin")] == ["a/9.bin", "b/1.bin", "b/2.bin", "c.bin"]


def test_folder_is_found_however_deep_and_the_first_by_name_wins(tmp_path, shuffled):
    touch(tmp_path, "x/y/b/list.txt", "x/y/a/list.txt", "x/z/list.txt")
    assert find_folder(tmp_path, "list.txt") == tmp_path / "x" / "y" / "a"
    with pytest.raises(ArchiveError, match=r"holds no nothing.txt"):
        find_folder(tmp_path, "nothing.txt")
