"""Splits of sets without an official one: by sample id, class by class, the same on every machine."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvsprep import datasets
from dvsprep.datasets import splits
from dvsprep.errors import UsageError

CIFAR = datasets.get("cifar10dvs")
IDS = [f"cifar10_{name}_{i}" for name in ("cat", "dog") for i in range(8)]
GOLDEN_TEST_IDS = ["cifar10_cat_0", "cifar10_cat_4", "cifar10_dog_0", "cifar10_dog_3"]
LABELS = [3] * 8 + [5] * 8


def assign(fraction: float, seed: int = 0, ids=IDS, labels=LABELS) -> tuple[list[str], list[str]]:
    chosen = splits.policy(CIFAR, fraction, seed)
    sides = splits.assign(CIFAR, chosen, ids, labels)
    return [ids[i] for i in sides["train"]], [ids[i] for i in sides["test"]]


def test_split_is_the_one_it_has_always_been():
    # Golden: made by this code when it was first released; another list would make every published split another one.
    train, test = assign(0.75, seed=0)
    assert test == GOLDEN_TEST_IDS
    assert sorted(train + test) == sorted(IDS)


def test_split_does_not_depend_on_the_order_of_the_samples():
    pairs = list(zip(IDS, LABELS, strict=True))
    random.Random(1).shuffle(pairs)
    ids, labels = [p[0] for p in pairs], [p[1] for p in pairs]
    assert [set(side) for side in assign(0.75, 0, ids, labels)] == [set(side) for side in assign(0.75)]


def test_each_side_keeps_the_order_of_the_whole_set():
    for side in assign(0.5):
        assert side == sorted(side, key=IDS.index)


def test_another_seed_is_another_split_of_the_same_size():
    kinds = [assign(0.75, seed) for seed in range(5)]
    assert len({tuple(test) for _, test in kinds}) > 1
    assert {len(test) for _, test in kinds} == {4}


def test_larger_fraction_only_adds_to_the_training_part():
    previous: set[str] = set()
    for fraction in (0.2, 0.4, 0.5, 0.7, 0.9):
        train = set(assign(fraction)[0])
        assert previous < train
        previous = train


@settings(deadline=None, max_examples=150)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.floats(0.01, 0.99), st.integers(0, 9))
def test_fraction_is_taken_class_by_class_and_every_sample_is_on_one_side(labels, fraction, seed):
    ids = [f"s{i}" for i in range(len(labels))]
    sides = splits.assign(CIFAR, splits.policy(CIFAR, fraction, seed), ids, labels)
    assert sorted(sides["train"] + sides["test"]) == list(range(len(labels)))
    for label in set(labels):
        whole = labels.count(label)
        train = sum(labels[i] == label for i in sides["train"])
        assert abs(train - whole * fraction) <= 1
        assert whole < 2 or 0 < train < whole


def test_tebn_tests_on_the_first_hundred_of_each_class():
    ids = [f"cifar10_{name}_{i}" for name in CIFAR.classes for i in range(1000)]
    chosen = splits.policy(CIFAR, "tebn", seed=3)
    assert chosen == {"policy": "tebn"}  # no seed: it has no say
    sides = splits.assign(CIFAR, chosen, ids, [0] * len(ids))
    assert {side: len(found) for side, found in sides.items()} == {"train": 9000, "test": 1000}
    assert [ids[i] for i in sides["test"][99:101]] == ["cifar10_airplane_99", "cifar10_automobile_0"]
    assert "cifar10_truck_100" in {ids[i] for i in sides["train"]}


def test_no_split_asked_for_is_no_policy():
    assert splits.policy(CIFAR, None, 0) is None
    assert splits.policy(datasets.get("dvs128"), None, 0) is None


@pytest.mark.parametrize("fraction", [0.9, "0.9", "9e-1"])
def test_fraction_may_come_as_text(fraction):
    assert splits.policy(CIFAR, fraction, 7) == {"policy": "fraction", "fraction": 0.9, "seed": 7}


@pytest.mark.parametrize("split", [0.9, "tebn"])
@pytest.mark.parametrize("name", ["dvs128", "nmnist", "sample"])
def test_set_with_an_official_split_refuses_another(name, split):
    with pytest.raises(UsageError, match=rf"{name} has an official split \(train, test\)"):
        splits.policy(datasets.get(name), split, 0)


@pytest.mark.parametrize("split", ["half", "", "tebm", "0,9", 0, 1, 1.0, -0.1, "1.5", 90, "nan", "inf"])
def test_wrong_fraction_tells_what_is_expected(split):
    with pytest.raises(UsageError, match="expected a fraction between 0 and 1"):
        splits.policy(CIFAR, split, 0)


def test_wrong_name_tells_the_published_ones():
    with pytest.raises(UsageError, match="fraction between 0 and 1 or tebn"):
        splits.policy(CIFAR, "half", 0)
