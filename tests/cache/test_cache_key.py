"""A cache's key: everything that changes a number changes it, nothing else does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import making
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvsprep import cache, datasets, events
from dvsprep.pipeline import Job, Options
from dvsprep.types import FrameSpec, canonical_json, digest

BASE: dict[str, Any] = {"split_by": "number", "T": 20}


def frames_key(
    name: str = "dvs128", root: Path | str = "/nowhere", spec: dict[str, Any] | None = None, **options: Any
) -> str:
    job = Job(name, root, FrameSpec(**(BASE if spec is None else spec)), Options(**options))
    return digest(job.frames_identity())


def events_key(root: Path | str = "/nowhere", **options: Any) -> str:
    return digest(Job("dvs128", root, None, Options(**options)).events_identity())


# What `Job("dvs128", ..., by number, T=20)` had to hash when schema 1 was fixed, written down by hand.
GOLDEN = (
    '{"events":{"dataset":"dvs128","facts":"779690f9addfa7436c0fe419d3ecd99bd2638cfbd16dd3b90f8874ec54243bd7",'
    '"files":{"DvsGesture.tar.gz":"8a5c71fb11e24e5ca5b11866ca6c00a1"},"instances":"rows",'
    '"kind":"events","policy":{},"reader":{"aedat3.1":1},"schema":1},"integrator":{"version":1},"kind":"frames",'
    '"schema":1,"spec":{"T":20,"split_by":"number"},"split":null}'
)


def test_the_identity_of_a_known_cache_is_this_text() -> None:
    """It must be the same on every machine and in every version that makes the same numbers."""
    job = Job("dvs128", "/nowhere", FrameSpec("number", T=20))
    assert canonical_json(job.frames_identity()) == GOLDEN
    key = digest(json.loads(GOLDEN))
    # sha256sum of the text above
    assert key == "dba29af04eb54b123f654b0a15dde7b33463991995d88a73700751e769004279"
    assert [path.name for path in job.frames_paths().values()] == [
        f"number-T20-{key[:8]}.train.h5",
        f"number-T20-{key[:8]}.test.h5",
    ]


def test_every_parameter_alone_changes_the_key(tmp_path: Path) -> None:
    one, two = making.plugin(tmp_path, "return 1", "one"), making.plugin(tmp_path, "return 2", "two")
    specs: list[dict[str, Any]] = [
        BASE,
        BASE | {"T": 16},
        BASE | {"split_by": "time"},
        {"split_by": "duration", "duration": 1000},
        {"split_by": "duration", "duration": 1001},
        {"split_by": "duration", "duration": 1000, "tail": "drop"},
        {"split_by": "plugin", "plugin": one},
        {"split_by": "plugin", "plugin": two},
        {"split_by": "plugin", "plugin": one, "params": {"a": 1}},
        {"split_by": "plugin", "plugin": one, "params": {"a": 2}},
        {"split_by": "plugin", "plugin": one, "params": {"b": 1}},
    ]
    options: list[dict[str, Any]] = [
        {"instances": "first"},
        {"instances": "merged"},
        {"policy": events.Policy(out_of_range="drop")},
        {"policy": events.Policy(unsorted="sort")},
        {"policy": events.Policy(salvage=True)},
    ]
    keys = [frames_key(spec=spec) for spec in specs] + [frames_key(**option) for option in options]
    keys.append(frames_key("sample"))
    assert len({*keys}) == len(keys)
    of_events = [events_key()] + [events_key(**option) for option in options]
    assert len({*of_events}) == len(of_events)


def test_the_split_and_its_seed_change_the_key_of_frames_and_leave_the_events() -> None:
    splits: list[dict[str, Any]] = [{}, {"split": 0.9}, {"split": 0.8}, {"split": 0.9, "seed": 1}, {"split": "tebn"}]
    jobs = [Job("cifar10dvs", "/nowhere", FrameSpec(**BASE), Options(**split)) for split in splits]
    assert len({digest(job.frames_identity()) for job in jobs}) == len(splits)
    assert len({digest(job.events_identity()) for job in jobs}) == 1


def test_a_split_written_as_text_or_number_is_one_split() -> None:
    assert frames_key("cifar10dvs", split="0.9") == frames_key("cifar10dvs", split=0.9)


def test_the_seed_counts_only_where_something_is_drawn() -> None:
    assert frames_key("cifar10dvs", split="tebn", seed=1) == frames_key("cifar10dvs", split="tebn", seed=2)
    assert frames_key(seed=1) == frames_key(seed=2)


def test_jobs_root_codec_and_verification_do_not_change_the_key(tmp_path: Path) -> None:
    keys = {
        frames_key(),
        frames_key(root=tmp_path),
        frames_key(jobs=1),
        frames_key(jobs=7),
        frames_key(codec="none"),
        frames_key(verify=False),  # no file at hand: the published one is expected
    }
    assert len(keys) == 1


def test_another_file_than_the_published_one_changes_the_key(tmp_path: Path) -> None:
    one = making.adopt(tmp_path / "one", making.archive(tmp_path / "a", events_a_row=5, rows=2))
    two = making.adopt(tmp_path / "two", making.archive(tmp_path / "b", events_a_row=6, rows=2))
    keys = [frames_key(), frames_key(root=one, verify=False), frames_key(root=two, verify=False)]
    assert len({*keys}) == 3
    assert frames_key(root=one) == keys[0]  # verified, only the published file will do


def test_where_a_plugin_lies_does_not_change_the_key_and_what_it_does_changes_it(tmp_path: Path) -> None:
    def key(folder: str, body: str) -> str:
        (tmp_path / folder).mkdir()
        reference = making.plugin(tmp_path / folder, body)
        return frames_key(spec={"split_by": "plugin", "plugin": reference})

    assert key("here", "return 1") == key("there", "return 1")
    assert key("edited", "return  1") != key("edited more", "return 2")


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text("abc", min_size=1), st.integers() | st.text() | st.booleans(), max_size=4))
def test_the_order_of_parameters_does_not_change_the_key(params: dict[str, Any]) -> None:
    backwards = dict(reversed(params.items()))
    assert digest({"params": params}) == digest({"params": backwards})


def test_the_key_and_its_whole_text_lie_in_the_file(sample_frames: Path) -> None:
    source = cache.FrameCache(sample_frames)
    assert digest(source.identity) == source.key
    assert source.path.name == f"number-T4-{source.key[:8]}.train.h5"
    assert source.identity["spec"] == source.spec.to_dict()
    for private in (str(sample_frames.parents[2]), "jobs", "codec"):
        assert private not in canonical_json(source.identity)


@pytest.mark.parametrize(
    "change",
    [
        {"classes": ("b", "a")},
        {"sensor": (64, 128)},
        {"channels": 1},
        {"splits": ("train", "val")},
        {"revision": 2},
    ],
)
def test_the_facts_that_make_labels_are_in_the_key(change: dict[str, Any]) -> None:
    dataset = replace(datasets.get("dvs128"), classes=("a", "b"))
    assert replace(dataset, **change).facts() != dataset.facts()
    assert replace(dataset, note="another", title="another").facts() == dataset.facts()
