"""Split files: what they hold, that they are what they say, and the ones that ship with dvsprep."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvsprep import datasets
from dvsprep.datasets import dvs128, splits
from dvsprep.errors import IntegrityError, NotFoundError, UsageError

CIFAR, GESTURE = datasets.get("cifar10dvs"), datasets.get("dvs128")
IDS = [f"cifar10_{name}_{i}" for name in ("cat", "dog") for i in range(10)]
LABELS = [3] * 10 + [5] * 10
# Samples a class in the published archive, from full file lists: the published descriptions
CALTECH = [
    467, 435, 200, 798, 55, 800, 42, 42, 47, 54, 46, 33, 128, 98, 43, 85, 91, 50, 43, 123, 47, 59, 62, 107, 47, 69,
    73, 70, 50, 51, 57, 67, 52, 65, 68, 75, 64, 53, 64, 85, 67, 67, 45, 34, 34, 51, 99, 100, 42, 54, 88, 80, 31, 64,
    86, 114, 61, 81, 78, 41, 66, 43, 40, 87, 32, 76, 55, 35, 39, 47, 38, 45, 53, 34, 57, 82, 59, 49, 40, 63, 39, 84,
    57, 35, 64, 45, 86, 59, 64, 35, 85, 49, 86, 75, 239, 37, 59, 34, 56, 39, 60,
]  # fmt: skip


def whole(name: str) -> tuple[list[str], list[int]]:
    """Return every id and label of a published set."""
    dataset = datasets.get(name)
    if name == "cifar10dvs":
        pairs = [(f"cifar10_{c}_{i}", k) for k, c in enumerate(dataset.classes) for i in range(1000)]
    else:
        counted = zip(dataset.classes, CALTECH, strict=True)
        pairs = [(f"{c}/image_{i:04d}", k) for k, (c, n) in enumerate(counted) for i in range(1, n + 1)]
    assert len(pairs) == dataset.samples["all"]
    return [id for id, _ in pairs], [label for _, label in pairs]


def write(tmp_path: Path, facts: dict | None = None, **changes) -> Path:
    made = splits.make(CIFAR, IDS, LABELS, ratio=0.8) if facts is None else facts
    path = tmp_path / "split.json"
    path.write_text(json.dumps(made | changes))
    return path


@pytest.mark.parametrize(
    ("name", "kind"), [("cifar10dvs", "0.9-seed0"), ("cifar10dvs", "tebn"), ("ncaltech101", "0.9-seed0")]
)
def test_a_frozen_split_is_what_the_rule_computes(name, kind):
    dataset = datasets.get(name)
    ids, labels = whole(name)
    rule = splits.policy(dataset, kind.partition("-")[0], seed=0)
    file = splits.find(dataset, f"{name}-{kind}")
    assert file.sides(ids) == splits.assign(dataset, rule, ids, labels)


def test_every_frozen_split_is_of_a_known_dataset_and_listed():
    found = {path.stem for path in splits.FROZEN.glob("*.json")}
    assert found == {"cifar10dvs-0.9-seed0", "cifar10dvs-tebn", "ncaltech101-0.9-seed0"}
    assert found == {name for dataset in datasets.BUILT_IN for name in splits.frozen(dataset)}


def test_the_names_that_were_counted_and_not_seen_are_marked():
    assert "[?]" in json.loads((splits.FROZEN / "ncaltech101-0.9-seed0.json").read_text())["note"]


def test_a_file_gives_the_split_it_was_made_from(tmp_path):
    chosen = splits.policy(CIFAR, 0.8, 0)
    file = splits.find(CIFAR, write(tmp_path))
    assert file.sides(IDS) == splits.assign(CIFAR, chosen, IDS, LABELS)


def test_the_identity_is_the_ids_and_not_where_the_file_lies_or_how_it_is_ordered(tmp_path):
    path = write(tmp_path)
    first = splits.policy(CIFAR, path, 0)
    facts = json.loads(path.read_text())
    facts["train"].reverse()
    other = tmp_path / "other.json"
    other.write_text(json.dumps(facts, indent=4))
    assert splits.policy(CIFAR, str(other), 7) == first == {"policy": "ids", "hash": facts["hash"]}


def test_ids_that_the_set_does_not_have_are_named(tmp_path):
    file = splits.find(CIFAR, write(tmp_path))
    with pytest.raises(IntegrityError, match="cifar10dvs has no sample cifar10_cat_0"):
        file.sides(IDS[1:])


def test_samples_that_the_file_does_not_name_are_named(tmp_path):
    file = splits.find(CIFAR, write(tmp_path))
    with pytest.raises(IntegrityError, match=r"in no part of the split: cifar10_emu_1, cifar10_emu_2, .* and 2 more"):
        file.sides([*IDS, *(f"cifar10_emu_{i}" for i in range(1, 6))])


def test_a_frozen_split_notices_that_samples_are_missing_or_too_many():
    file = splits.find(CIFAR, "cifar10dvs-tebn")
    ids = whole("cifar10dvs")[0]
    with pytest.raises(IntegrityError, match="made for other samples: 9000 train, 1000 test; here are 8999 train"):
        file.sides([id for id in ids if id != "cifar10_cat_500"])
    with pytest.raises(IntegrityError, match="here are 9001 train"):
        file.sides([*ids, "cifar10_cat_1000"])


@pytest.mark.parametrize(
    ("changes", "error", "why"),
    [
        ({"train": IDS, "test": []}, IntegrityError, "its ids are not those of its hash"),
        ({"hash": "0"}, IntegrityError, "its ids are not those of its hash"),
        ({"test": [IDS[0], IDS[0]]}, IntegrityError, "names a sample twice: cifar10_cat_0"),
        ({"train": 5, "test": 6}, IntegrityError, "expected two parts"),
        ({"val": ["a"]}, IntegrityError, "expected two parts"),
        ({"dataset": "dvs128"}, UsageError, "is a split of dvs128, not of cifar10dvs"),
        ({"train": None}, IntegrityError, "no split file: TypeError"),
    ],
)
def test_a_file_that_was_changed_is_refused(tmp_path, changes, error, why):
    with pytest.raises(error, match=why):
        splits.find(CIFAR, write(tmp_path, **changes))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"dataset": 1}', "\xff"])
def test_anything_else_is_no_split_file(tmp_path, text):
    path = tmp_path / "split.json"
    path.write_text(text)
    with pytest.raises(IntegrityError, match=r"split.json: no split file"):
        splits.find(CIFAR, path)


def test_a_file_that_is_not_there_says_how_to_make_one():
    with pytest.raises(NotFoundError, match=r"nowhere.json: no such split file \(`dvsprep split"):
        splits.find(CIFAR, "nowhere.json")


def test_a_frozen_split_is_of_one_dataset():
    with pytest.raises(UsageError, match="cifar10dvs-tebn is a split of cifar10dvs, not of ncaltech101"):
        splits.policy(datasets.get("ncaltech101"), "cifar10dvs-tebn", 0)


# -- by user, and for sets with an official split --


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=40), st.floats(0.05, 0.95), st.integers(0, 5))
def test_no_person_is_on_both_sides(users, ratio, seed):
    ids = [f"user{user:02d}_led_row{k:02d}" for k, user in enumerate(users)]
    if len(set(users)) == 1:
        with pytest.raises(UsageError, match="two persons at least"):
            splits.make(GESTURE, ids, [0] * len(ids), ratio=ratio, seed=seed, by="user")
        return
    facts = splits.make(GESTURE, ids, [0] * len(ids), ratio=ratio, seed=seed, by="user")
    train, val = ({dvs128.user_of(id) for id in facts[part]} for part in ("train", "val"))
    assert train
    assert val
    assert not train & val
    assert sorted(facts["train"] + facts["val"]) == sorted(ids)


def test_a_set_with_an_official_split_gets_a_validation_part():
    facts = splits.make(GESTURE, [f"user0{i}_led_row01" for i in range(5)], [0] * 5, ratio=0.8)
    assert {part: len(facts[part]) for part in ("train", "val")} == {"train": 4, "val": 1}
    assert "test" not in facts


@pytest.mark.parametrize("name", ["ssc", "hardvs"])
def test_a_set_with_a_validation_part_of_its_own_is_left_alone(name):
    with pytest.raises(UsageError, match="there is nothing to split"):
        splits.held_out_name(datasets.get(name))


def test_ids_that_name_nobody_cannot_be_split_by_user():
    with pytest.raises(UsageError, match="do not tell who is seen"):
        splits.make(CIFAR, IDS, LABELS, ratio=0.8, by="user")


@pytest.mark.parametrize("ratio", [0, 1, -1, 2.0, float("nan")])
def test_a_wrong_ratio_is_refused(ratio):
    with pytest.raises(UsageError, match="expected a fraction"):
        splits.make(CIFAR, IDS, LABELS, ratio=ratio)


def test_a_part_without_samples_is_refused():
    with pytest.raises(UsageError, match="leave test empty"):
        splits.make(CIFAR, IDS[:1], [3], ratio=0.9)


def test_a_set_that_owns_a_validation_part_takes_no_train_and_val_file(tmp_path):
    (tmp_path / "s.json").write_text(
        json.dumps(splits.make(datasets.get("dvs128"), ["user01_a", "user02_a"], [0, 0], ratio=0.5))
    )
    made = json.loads((tmp_path / "s.json").read_text()) | {"dataset": "hardvs"}
    (tmp_path / "s.json").write_text(json.dumps(made))
    with pytest.raises(UsageError, match="nothing to split"):
        splits.find(datasets.get("hardvs"), tmp_path / "s.json")
