"""Recordings of one's own become a dataset: which files, which classes, which samples, and under which key."""

import json
from pathlib import Path

import formats
import numpy as np
import own
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dvsprep
from dvsprep import cache, importing
from dvsprep.datasets.layouts import number_classes
from dvsprep.errors import FormatError, IntegrityError, LabelError, NotFoundError, UsageError
from dvsprep.events import Policy, writers
from dvsprep.events.label_table import read_table
from dvsprep.importing import Import

SENSOR = (own.H, own.W)


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def recordings(tmp_path) -> Path:
    return own.folders(tmp_path / "rec", "10/b.txt", "9/a.txt", "9/a2.txt", "9/a10.txt")


def imported(root: Path, *inputs: Path, **how) -> cache.EventCache:
    done = importing.run(Import("mine", inputs, **({"sensor": SENSOR} | how)), root, jobs=1)
    return cache.EventCache(done.path)


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    return path


# -- classes and ids --


def test_the_folder_names_the_class_and_numbers_count_as_numbers(root, recordings):
    source = imported(root, recordings)
    assert source.classes == ("9", "10")
    assert source.ids.tolist() == ["9/a", "9/a2", "9/a10", "10/b"]
    assert source.labels.tolist() == [0, 0, 0, 1]
    own.same(source[3][0], own.columns(seed=0))
    own.same(source[2][0], own.columns(seed=3))


@pytest.mark.parametrize("rule", [r"/(.)", r"^(\d+)/(?P<class>\w)"])
def test_a_regular_expression_finds_the_class_in_the_path(root, recordings, rule):
    source = imported(root, recordings, class_from=rule)
    assert source.classes == ("a", "b")


def test_files_of_several_folders_are_named_from_the_one_that_holds_all(root, recordings):
    source = imported(root, recordings / "9" / "a.txt", recordings / "10")
    assert source.ids.tolist() == ["9/a", "10/b"]


def test_a_file_named_twice_is_one_recording(root, recordings):
    assert len(imported(root, recordings, recordings / "9" / "a.txt")) == 4


def test_files_that_state_their_sensor_need_no_other_word(root, tmp_path):
    events = own.columns()
    (tmp_path / "x").mkdir()
    writers.write(events, tmp_path / "x" / "a.dat", SENSOR)
    source = imported(root, tmp_path / "x", sensor=None)
    assert source.sensor == SENSOR
    own.same(source[0][0], events)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(st.integers(0, 300).map(str), st.sampled_from(["up", "down", "7"])), min_size=1))
def test_classes_are_numbered_without_a_gap_in_natural_order(names):
    classes, index = number_classes(names)
    assert sorted(set(index.values())) == list(range(len(classes)))
    assert {classes[index[name]] for name in names} == set(names)
    numbers = [int(name) for name in classes if name.isdecimal()]
    assert numbers == sorted(numbers)


# -- label tables --


def test_a_table_cuts_one_recording_into_windows(root, tmp_path):
    events = own.text(tmp_path / "long.txt", n=200)
    middle, end = int(events["t"][100]), int(events["t"][-1]) + 1
    labels = table(tmp_path, f"class,start_us,end_us\nwave,0,{middle}\nclap,{middle},{end}\n")
    source = imported(root, tmp_path / "long.txt", labels=labels)
    assert source.ids.tolist() == ["long_row01", "long_row02"]
    assert [source.classes[i] for i in source.labels] == ["wave", "clap"]
    first, second = source[0][0]["t"], source[1][0]["t"]
    np.testing.assert_array_equal(np.concatenate([first, second]), events["t"])
    assert first[-1] < middle <= second[0]


def test_the_columns_of_dvs128_mean_the_same(root, tmp_path):
    own.text(tmp_path / "a.txt")
    labels = table(tmp_path, "class,startTime_usec,endTime_usec\n2,0,1200\n10,1200,1500\n1,1000,2000\n")
    source = imported(root, tmp_path / "a.txt", labels=labels)
    assert source.classes == ("1", "2", "10")
    assert source.labels.tolist() == [1, 2, 0]


def test_a_table_names_recordings_by_path_or_by_file_name_and_others_are_left_out(root, tmp_path, recordings):
    labels = table(tmp_path, "class,file,start_us,end_us\nx,9/a.txt,,\ny,b.txt,1000,1100\ny,b.txt,1100,1200\n")
    said: list[str] = []
    done = importing.run(Import("mine", [recordings], labels, sensor=SENSOR), root, jobs=1, say=said.append)
    source = cache.EventCache(done.path)
    assert source.ids.tolist() == ["9/a", "10/b_row01", "10/b_row02"]
    assert len(said) == 1
    assert "no row of 2 recording(s)" in said[0]
    assert set(done.facts["identity"]["files"]) == {"9/a.txt", "10/b.txt"}


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("", 1, "empty file"),
        ("class,start\n1,2\n", 1, "unknown column 'start'.*did you mean start_us"),
        ("class,Class\n1,2\n", 1, "twice"),
        ("file\na.txt\n", 1, "no column class"),
        ("class,start_us\n1,2\n", 1, "go together"),
        ("class,start_us,end_us\n1,2,3\n1,2\n", 3, "2 fields, expected 3"),
        ("class,start_us,end_us\n,2,3\n", 2, "no class"),
        ("class,file\n1,\n", 2, "no file"),
        ("class,start_us,end_us\n1,2,x\n", 2, "whole numbers"),
        ("class,start_us,end_us\n1,2.5,3\n", 2, "whole numbers"),
        ("class,start_us,end_us\n1,,3\n", 2, "whole numbers"),
        ("class,start_us,end_us\n1,5,5\n", 2, "does not end after its start"),
        ("class,start_us,end_us\n1,-5,5\n", 2, "does not end after its start"),
        (f"class,start_us,end_us\n1,0,{1 << 63}\n", 2, "does not end after its start"),
    ],
)
def test_a_wrong_table_is_told_by_file_and_line(tmp_path, text, line, why):
    path = table(tmp_path, text)
    with pytest.raises(LabelError, match=f"labels.csv:{line}: .*{why}"):
        read_table(path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("class\n1\n", "labels.csv:2: which of the 4 recordings"),
        ("class,file\n1,c.txt\n", "labels.csv:2: no recording is named 'c.txt'"),
        ("class,file\n1,9/a.txt\n2,9/a.txt\n", "labels.csv:2: one of 2 rows of 9/a, so it needs start_us"),
        ("class,file,start_us,end_us\n1,a.txt,1,2\n1,a.txt,,\n", "labels.csv:3: one of 2 rows"),
        ("class,file,start_us,end_us\n1,a.txt,9000000,9000001\n", "labels.csv:2: the window .* outside the recording"),
        ("class\n\n", "labels.csv: no rows"),
    ],
)
def test_a_table_that_contradicts_the_recordings_is_an_error(root, tmp_path, recordings, text, why):
    with pytest.raises(LabelError, match=why):
        imported(root, recordings, labels=table(tmp_path, text))


def test_a_file_name_that_two_recordings_have_is_ambiguous(root, tmp_path):
    folder = own.folders(tmp_path / "rec", "a/1.txt", "b/1.txt")
    with pytest.raises(LabelError, match=r"labels.csv:2: '1.txt' may be a/1.txt or b/1.txt"):
        imported(root, folder, labels=table(tmp_path, "class,file\nx,1.txt\n"))


# -- what is refused --


def test_two_files_of_one_id_are_refused(root, tmp_path):
    folder = own.folders(tmp_path / "rec", "a/1.txt")
    writers.write(own.columns(), folder / "a" / "1.npz")
    with pytest.raises(UsageError, match=r"would both be the sample a/1"):
        imported(root, folder)


def test_files_of_different_sensors_need_one_for_all(tmp_path):
    writers.write(own.columns(), tmp_path / "a.dat", SENSOR)
    writers.write(own.columns(), tmp_path / "b.dat", (128, 128))
    with pytest.raises(UsageError, match=r"different sensors, 24x32 and 128x128"):
        importing.stated_sensor(importing.find([tmp_path]))


def test_a_folder_without_recordings_is_an_error(root, tmp_path):
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "readme.md").write_text("hello")
    with pytest.raises(NotFoundError, match="none: no recording in this folder"):
        imported(root, tmp_path / "none")


def test_a_broken_file_is_an_error_where_it_is_named_and_a_word_where_it_lies_in_a_folder(root, recordings):
    bad = recordings / "9" / "bad.aedat"
    bad.write_bytes(b"\x00\x01")
    with pytest.raises(FormatError, match="unknown format"):
        imported(root, bad)
    said: list[str] = []
    assert len(importing.find([recordings], say=said.append)) == 4
    assert len(said) == 1
    assert said[0].startswith(f"skipped: {bad}")


def test_a_class_that_the_rule_does_not_find_is_an_error(root, recordings):
    with pytest.raises(LabelError, match=r"finds no class in '9/a.txt'"):
        imported(root, recordings, class_from=r"user(\d+)")


@pytest.mark.parametrize("rule", ["(", "user", "(a)(b)"])
def test_a_rule_that_tells_no_one_class_is_refused(root, recordings, rule):
    with pytest.raises(UsageError, match="--class-from"):
        imported(root, recordings, class_from=rule)


@pytest.mark.parametrize("name", ["dvs128", "sample", "", "../x", ".x", "a/b"])
def test_a_name_that_is_taken_or_no_folder_is_refused(root, recordings, name):
    with pytest.raises(UsageError, match=r"is a known dataset's name|is no name for a dataset"):
        importing.run(Import(name, [recordings], sensor=SENSOR), root)


def test_events_outside_the_sensor_are_an_error_or_dropped(root, recordings):
    with pytest.raises(FormatError, match="outside the sensor"):
        imported(root, recordings, sensor=(8, 8))
    policy = Policy(out_of_range="drop")
    source = imported(root, recordings, sensor=(16, 16), policy=policy)
    assert 0 < len(source[0][0]["t"]) < 60


def test_what_was_mended_is_kept_in_the_cache(root, tmp_path):
    (tmp_path / "a.txt").write_text("20 1 1 1\n10 2 2 0\n")
    source = imported(root, tmp_path / "a.txt", policy=Policy(unsorted="sort"))
    assert source.provenance["mended"] == {"sorted": 1}
    assert source[0][0]["t"].tolist() == [10, 20]


# -- the same again --


def test_the_same_again_changes_nothing(root, recordings):
    path = imported(root, recordings).path
    before = [(p, p.stat().st_mtime_ns) for p in sorted(root.rglob("*")) if p.is_file()]
    again = importing.run(Import("mine", [recordings], sensor=SENSOR), root, jobs=1)
    assert (again.path, again.new) == (path, False)
    assert [(p, p.stat().st_mtime_ns) for p in sorted(root.rglob("*")) if p.is_file()] == before


@pytest.mark.parametrize("change", ["bytes", "labels", "sensor", "policy"])
def test_anything_else_under_the_same_name_is_refused(root, recordings, change):
    imported(root, recordings)
    how = {"labels": {"class_from": "(.)/"}, "sensor": {"sensor": (40, 40)}, "policy": {
        "policy": Policy(unsorted="sort")}}.get(change, {})  # fmt: skip
    if change == "bytes":
        own.text(recordings / "9" / "a.txt", seed=99)
    with pytest.raises(UsageError, match=r"holds other recordings.*choose another name"):
        imported(root, recordings, **how)


def test_another_place_of_the_same_files_is_the_same_data(root, recordings, tmp_path):
    path = imported(root, recordings).path
    moved = recordings.rename(tmp_path / "moved")
    assert imported(root, moved).path == path


def test_an_import_that_failed_leaves_no_name_and_can_be_done_again(root, recordings):
    good = (recordings / "9" / "a.txt").read_text()
    (recordings / "9" / "a.txt").write_text(good + "5 x x x\n")
    with pytest.raises(FormatError):
        imported(root, recordings)
    with pytest.raises(NotFoundError, match="no dataset is named 'mine'"):
        dvsprep.frames("mine", root=root, split_by="number", T=2)
    (recordings / "9" / "a.txt").write_text(good)
    assert len(imported(root, recordings)) == 4


def test_a_cache_that_was_deleted_is_made_again(root, recordings):
    first = imported(root, recordings)
    key = first.key
    first.path.unlink()
    with pytest.raises(NotFoundError, match="import the recordings again"):
        dvsprep.frames("mine", root=root, split_by="number", T=2)
    assert imported(root, recordings).key == key


def test_a_damaged_description_says_what_to_do(root, recordings):
    imported(root, recordings)
    (root / "mine" / "dataset.json").write_text("{")
    with pytest.raises(IntegrityError, match="delete it and import"):
        imported(root, recordings)


# -- afterwards it is a dataset like any other --


def test_frames_and_splits_are_made_of_it(root, recordings):
    imported(root, recordings)
    whole = dvsprep.frames("mine", root=root, split_by="number", T=3, jobs=1)
    assert {split: len(source) for split, source in whole.items()} == {"all": 4}
    assert whole["all"][0][0].shape == (3, 2, own.H, own.W)
    assert whole["all"][0][0].sum() == 60
    halves = dvsprep.frames("mine", root=root, split_by="number", T=3, split=0.7, jobs=1)
    assert {split: len(source) for split, source in halves.items()} == {"train": 3, "test": 1}


def test_a_shared_root_has_it_for_everybody(root, recordings, tmp_path, monkeypatch):
    imported(root, recordings)
    monkeypatch.setenv("DVSPREP_SHARED_ROOTS", str(root))
    found = dvsprep.frames("mine", root=tmp_path / "own", split_by="number", T=3, jobs=1)
    assert len(found["all"]) == 4
    assert found["all"].path.is_relative_to(tmp_path / "own")


def test_its_description_holds_facts_only(root, recordings):
    imported(root, recordings)
    facts = json.loads((root / "mine" / "dataset.json").read_text())
    assert set(facts) == {"schema", "classes", "sensor", "channels", "identity"}
    assert facts["identity"]["reader"] == {"text": 1}
    assert str(recordings) not in json.dumps(facts)


def test_aedat_recordings_are_imported_by_their_bytes(root, tmp_path):
    e = formats.events(50, 128, 128, start=10)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.bin").write_bytes(formats.aedat31(e))
    said: list[str] = []
    done = importing.run(Import("mine", [tmp_path / "in"], sensor=(128, 128)), root, jobs=1, say=said.append)
    own.same(cache.EventCache(done.path)[0][0], e)
    assert said == ["a.bin: named .bin, but holds AEDAT 3.1"]
