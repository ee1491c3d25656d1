"""`dvsprep split` and `frames --split split.json`."""

import json
import shutil
from pathlib import Path

import own
import pytest

import dvsprep
from dvsprep.datasets.splits import ids_hash


@pytest.fixture
def root(built, tmp_path) -> Path:
    """Return a root with the event caches of the bundled sample."""
    shutil.copytree(built.root / "sample" / "events", tmp_path / "root" / "sample" / "events")
    return tmp_path / "root"


@pytest.fixture
def mine(run, tmp_path):
    """Import six recordings of two classes as `mine`."""
    folder = own.folders(tmp_path / "rec", *(f"{name}/{i}.txt" for name in ("clap", "wave") for i in range(3)))
    assert run("import", "mine", folder, "--sensor", own.SENSOR, "-j", 1).code == 0
    return folder


def test_validation_by_user_leaves_the_official_test_set_alone(run, root, tmp_path):
    file = tmp_path / "val.json"
    done = run("split", "sample", "--by", "user", "--ratio", 0.7, "-o", file, "--root", root)
    assert (done.code, done.lines) == (0, [str(file)])
    facts = json.loads(file.read_text())
    assert facts["hash"] == ids_hash({"train": facts["train"], "val": facts["val"]})
    users = [{id.partition("_")[0] for id in facts[part]} for part in ("train", "val")]
    assert not users[0] & users[1]

    done = run("frames", "sample", "--split-by", "number", "-T", 2, "--split", file, "--root", root, "-j", 1)
    caches = {path.split(".")[-2]: dvsprep.open(path) for path in done.lines}
    assert list(caches) == ["train", "val", "test"]
    assert set(caches["train"].ids) == set(facts["train"])
    assert set(caches["val"].ids) == set(facts["val"])
    assert (len(caches["train"]) + len(caches["val"]), len(caches["test"])) == (72, 24)


def test_a_file_gives_the_same_samples_as_the_fraction_and_travels(run, mine, tmp_path):
    file = tmp_path / "split.json"
    done = run("split", "mine", "--ratio", 0.7, "--seed", 3, "-o", file, "--json")
    assert done.json["samples"] == {"train": 4, "test": 2}
    by_fraction = dvsprep.frames("mine", split_by="number", T=2, split=0.7, seed=3)
    by_file = dvsprep.frames("mine", split_by="number", T=2, split=file)
    for part, cache in by_fraction.items():
        assert cache.ids.tolist() == by_file[part].ids.tolist()
    moved = file.rename(tmp_path / "elsewhere.json")
    again = dvsprep.frames("mine", split_by="number", T=2, split=str(moved))
    assert {part: c.path for part, c in again.items()} == {part: c.path for part, c in by_file.items()}


def test_a_split_is_the_same_whoever_makes_it(run, mine, tmp_path):
    for name in ("a.json", "b.json"):
        assert run("split", "mine", "-o", tmp_path / name).code == 0
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_split_of_other_rows_is_refused(run, root, tmp_path):
    file = tmp_path / "val.json"
    run("split", "sample", "-o", file, "--root", root)
    facts = json.loads(file.read_text())
    ids = [id.replace("_row", "_class") for id in facts["train"]]
    facts |= {"train": ids, "hash": ids_hash({"train": ids, "val": facts["val"]})}
    file.write_text(json.dumps(facts))
    done = run("frames", "sample", "--split-by", "number", "-T", 2, "--split", file, "--root", root)
    assert done.code == 5
    assert "sample has no sample user" in done.error
    assert "with other --instances" in done.error


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["mine", "-o", "split.txt"], 2, "a split file is named *.json"),
        (["mine", "-o", "there.json"], 2, "there.json exists"),
        (["mine", "-o", "s.json", "--ratio", "1.5"], 2, "expected a fraction between 0 and 1"),
        (["mine", "-o", "s.json", "--by", "user"], 2, "its sample ids do not tell who is seen"),
        (["mine", "-o", "s.json", "--by", "class"], 2, "'class' is not one of 'sample', 'user'"),
        (["mine", "-o", "no/s.json"], 6, "no"),
        (["nobody", "-o", "s.json"], 3, "no dataset is named 'nobody'"),
        (["ssc", "-o", "s.json"], 2, "there is nothing to split"),
        (["mine"], 2, "Missing option"),
    ],
)
def test_a_mistake_is_one_line_and_its_exit_code(run, mine, tmp_path, monkeypatch, arguments, code, why):
    monkeypatch.chdir(tmp_path)
    Path("there.json").write_text("{}")
    done = run("split", *arguments)
    assert why in done.error
    assert (done.code, done.out) == (code, "")
    assert not Path("s.json").exists()


def test_the_names_that_can_be_asked_for_are_told(run):
    done = run("frames", "cifar10dvs", "--split-by", "number", "-T", 2, "--split", "tebm")
    assert done.code == 2
    assert "or tebn or cifar10dvs-0.9-seed0 or cifar10dvs-tebn or a file *.json" in done.error
