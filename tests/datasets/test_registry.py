"""Datasets by name: the built-in ones, those of installed packages, and names that nobody knows."""

import re
import sys
import textwrap

import pytest

from dvsprep import datasets
from dvsprep.errors import UnknownDatasetError, UsageError
from dvsprep.events import READERS

PACKAGE = """
    from dvsprep.datasets import Dataset

    MINE = Dataset(
        name="mine", title="Mine", paper="", licence="MIT", classes=("a", "b"), sensor=(10, 12), format="atis",
        resources=(), layout=lambda trees, dataset, instances: [],
    )
    NUMBER = 7
"""
ENTRIES = """
    [dvsprep.datasets]
    mine = mydatasets:MINE
    seven = mydatasets:NUMBER
    broken = mydatasets_nowhere:X
    dvs128 = mydatasets:MINE
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Lay a package with entry points on sys.path, as `pip install` would."""
    (tmp_path / "mydatasets.py").write_text(textwrap.dedent(PACKAGE))
    info = tmp_path / "mydatasets-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mydatasets\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(textwrap.dedent(ENTRIES))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("mydatasets", None)


def test_names_are_sorted_and_hold_the_four_of_the_main_job():
    names = datasets.names()
    assert names == sorted(set(names))
    assert {"cifar10dvs", "dvs128", "nmnist", "sample"} <= set(names)


@pytest.mark.parametrize("name", datasets.BUILT_IN)
def test_built_in_dataset_states_whole_facts(name):
    dataset = datasets.get(name)
    assert dataset.name == name
    assert dataset.format in READERS
    assert len(set(dataset.classes)) == len(dataset.classes) > 1
    assert len(dataset.sensor) == 2
    assert dataset.archives
    for resource in dataset.resources:
        assert resource.urls or resource.page, "neither a machine nor a person can get it"
        assert resource.md5 is None or re.fullmatch("[0-9a-f]{32}", resource.md5)
    assert set(dataset.samples) <= set(dataset.splits)


@pytest.mark.parametrize(
    ("name", "samples"),
    # the published descriptions
    [
        ("dvs128", {"train": 1176, "test": 288}),
        ("nmnist", {"train": 60000, "test": 10000}),
        ("cifar10dvs", {"all": 10000}),
        ("sample", {"train": 72, "test": 24}),
    ],
)
def test_sample_counts_of_the_official_files(name, samples):
    assert datasets.get(name).samples == samples


def test_optional_side_files_are_no_archives():
    # Nobody should need the licence to build a cache (the published descriptions).
    assert [r.name for r in datasets.get("dvs128").archives] == ["DvsGesture.tar.gz"]


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("dvs129", "dvs128"),
        ("DVS128", "dvs128"),
        ("n-mnist", "nmnist"),
        ("cifar10-dvs", "cifar10dvs"),
        ("smple", "sample"),
    ],
)
def test_unknown_name_tells_the_nearest(wrong, near):
    with pytest.raises(UnknownDatasetError, match=rf"no dataset is named '{wrong}' \(did you mean .*{near}"):
        datasets.get(wrong)


def test_name_like_no_other_tells_them_all():
    with pytest.raises(UnknownDatasetError) as caught:
        datasets.get("@@@@")
    assert caught.value.hint == f"there are {', '.join(datasets.names())}"


@pytest.mark.parametrize("name", ["", "dataset", "splits", "../dvs128", "__init__"])
def test_modules_of_the_room_are_no_datasets(name):
    with pytest.raises(UnknownDatasetError):
        datasets.get(name)


def test_installed_package_adds_a_dataset(installed):
    assert "mine" in datasets.names()
    assert datasets.get("mine").classes == ("a", "b")


def test_installed_package_does_not_replace_a_built_in_one(installed):
    assert datasets.get("dvs128").title == "DVS128 Gesture"
    assert datasets.names().count("dvs128") == 1


def test_names_do_not_import_anybodys_package(installed):
    assert {"mine", "broken"} <= set(datasets.names())
    assert "mydatasets" not in sys.modules


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("seven", "dataset seven: mydatasets:NUMBER is a int, expected a Dataset"),
        ("broken", "importing mydatasets_nowhere:X fails: ModuleNotFoundError: No module named 'mydatasets_nowhere'"),
    ],
)
def test_entry_point_that_is_no_dataset_says_so(installed, name, says):
    with pytest.raises(UsageError, match=says):
        datasets.get(name)
