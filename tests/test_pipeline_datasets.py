"""run() on datasets made for a test: the official counts are insisted on, splits are made by sample id."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import formats
import making
import pytest

from dvsprep import cache, datasets
from dvsprep.datasets import cifar10dvs, splits
from dvsprep.errors import IntegrityError
from dvsprep.pipeline import Job, Options
from dvsprep.raw import Resource
from dvsprep.types import FrameSpec

SPEC = FrameSpec("number", T=3)


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a look-alike of DVS128 Gesture: two training recordings and one for tests, 12 rows each."""
    return making.archive(tmp_path_factory.mktemp("packed"), events_a_row=40)


def known(monkeypatch: pytest.MonkeyPatch, dataset: datasets.Dataset) -> datasets.Dataset:
    """Put a dataset into the registry."""
    monkeypatch.setitem(datasets._registered, dataset.name, dataset)
    return dataset


@pytest.fixture
def official(packed: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., datasets.Dataset]:
    """Return a dataset whose published file is the look-alike."""

    def make(**fields: Any) -> datasets.Dataset:
        md5 = hashlib.md5(packed.read_bytes()).hexdigest()
        resource = Resource("DvsGesture.tar.gz", md5=md5, urls=(packed.as_uri(),))
        return known(monkeypatch, replace(datasets.get("dvs128"), name="fake", resources=(resource,), **fields))

    return make


def test_the_official_number_of_samples_is_insisted_on(
    official: Callable[..., datasets.Dataset], tmp_path: Path
) -> None:
    official(samples={"train": 24, "test": 11})
    with pytest.raises(IntegrityError, match="fake test: 12 samples in the official files, expected 11"):
        Job("fake", tmp_path, SPEC).run()
    assert not [name for name in making.caches(tmp_path) if "test" in name]
    Job("fake", tmp_path / "first", None, Options(instances="first")).run()  # their number is nowhere published


def test_the_number_of_samples_of_other_files_is_their_own_business(
    official: Callable[..., datasets.Dataset], packed: Path, tmp_path: Path
) -> None:
    official(samples={"train": 24, "test": 12})
    folder = tmp_path / "fake" / "download"
    folder.mkdir(parents=True)
    shutil.copy(making.archive(tmp_path / "other", events_a_row=5, rows=3), folder)
    this = Job("fake", tmp_path, None, Options(verify=False))
    this.run()
    assert len(cache.EventCache(this.events_paths()["train"])) == 6


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the root of a set like CIFAR10-DVS: 3 classes of samples 96 to 103, no official split."""
    names = ("airplane", "automobile", "bird")
    resources = []
    for c, name in enumerate(names):
        path = tmp_path / "source" / f"{name}.zip"
        path.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            for i in range(96, 104):
                data = formats.aedat2(formats.events(30 + i, 128, 128, seed=100 * c + i))
                archive.writestr(f"{name}/cifar10_{name}_{i}.aedat", data)
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        resources.append(Resource(path.name, md5=md5, urls=(path.as_uri(),)))
    known(monkeypatch, replace(cifar10dvs.DATASET, name="whole", classes=names, resources=tuple(resources), samples={}))
    return tmp_path / "root"


def parts(root: Path, **options: Any) -> dict[str, cache.FrameCache]:
    this = Job("whole", root, SPEC, Options(**options))
    this.run()
    return {split: cache.FrameCache(path) for split, path in this.frames_paths().items()}


def test_a_set_without_an_official_split_is_one_cache(whole: Path) -> None:
    assert {split: len(source) for split, source in parts(whole).items()} == {"all": 24}


@pytest.mark.parametrize("fraction", [0.5, 0.75, 0.9])
def test_a_fraction_is_taken_of_every_class_and_by_sample_id(whole: Path, fraction: float) -> None:
    everything = parts(whole)["all"]
    source = parts(whole, split=fraction, seed=3)
    train, test = source["train"], source["test"]
    assert sorted([*train.ids, *test.ids]) == sorted(everything.ids)
    assert [(train.labels == c).sum() for c in range(3)] == [round(8 * fraction)] * 3
    # numbers and ids still belong together
    by_id = {str(everything.ids[i]): making.digest(*everything[i]) for i in range(len(everything))}
    for part in (train, test):
        assert [by_id[str(id)] for id in part.ids] == making.digests(part)
    assert train.provenance["split"] == {"policy": "fraction", "fraction": fraction, "seed": 3}
    # and the same ids come out whatever the order of the files
    ids, labels = [*map(str, everything.ids)][::-1], everything.labels.tolist()[::-1]
    again = splits.assign(datasets.get("whole"), train.provenance["split"], ids, labels)
    assert {ids[i] for i in again["train"]} == {*map(str, train.ids)}


def test_another_seed_is_another_split(whole: Path) -> None:
    chosen = [{*map(str, parts(whole, split=0.5, seed=seed)["train"].ids)} for seed in range(3)]
    assert chosen[0] != chosen[1] != chosen[2]


def test_the_published_split_of_TEBN(whole: Path) -> None:
    source = parts(whole, split="tebn")
    numbers = {split: {int(str(id).rpartition("_")[2]) for id in part.ids} for split, part in source.items()}
    assert numbers == {"train": {100, 101, 102, 103}, "test": {96, 97, 98, 99}}
    assert (len(source["train"]), len(source["test"])) == (12, 12)


def test_splits_share_one_event_cache(whole: Path) -> None:
    for options in ({}, {"split": 0.5}, {"split": "tebn"}):
        parts(whole, **options)
    assert len([*(whole / "whole" / "events").glob("*.h5")]) == 1


def test_recordings_are_read_out_of_the_zips_unless_extracted_files_are_to_be_kept(whole: Path) -> None:
    inside = Job("whole", whole, SPEC, Options(split=0.5))
    stages = {stage.stage: stage for stage in inside.run()}
    assert stages["extract"] == ("extract", "done", "not needed: recordings are read straight out of the archives")
    assert not (whole / "whole" / "extract").exists()
    made = {path.name: path.read_bytes() for path in (*inside.events_paths().values(), *inside.frames_paths().values())}
    shutil.rmtree(whole / "whole" / "events")
    shutil.rmtree(whole / "whole" / "frames")

    kept = Job("whole", whole, SPEC, Options(split=0.5, keep_extracted=True))
    assert {stage.stage: stage for stage in kept.run()}["extract"].state == "missing"
    assert len(list((whole / "whole" / "extract").rglob("*.aedat"))) == 24
    assert {p.name: p.read_bytes() for p in (*kept.events_paths().values(), *kept.frames_paths().values())} == made
    shutil.rmtree(whole / "whole" / "events")
    shutil.rmtree(whole / "whole" / "download")
    Job("whole", whole, None, Options(split=0.5)).run()  # what lies extracted is enough
    assert {p.name: p.read_bytes() for p in inside.events_paths().values()}.items() <= made.items()
