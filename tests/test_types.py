"""FrameSpec, its words, its JSON and its digest, which cache names rest on; and the FrameSource protocol."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

import dvsprep
from dvsprep.errors import UsageError
from dvsprep.types import FrameSource, FrameSpec, canonical_json, digest

SPECS = [
    (FrameSpec("number", T=20), {"split_by": "number", "T": 20}, "number-T20"),
    (FrameSpec("time", T=1), {"split_by": "time", "T": 1}, "time-T1"),
    (
        FrameSpec("duration", duration=50_000),
        {"split_by": "duration", "duration": 50000, "tail": "keep"},
        "duration-50000us",
    ),
    (
        FrameSpec("duration", duration=7, tail="drop"),
        {"split_by": "duration", "duration": 7, "tail": "drop"},
        "duration-7us-drop",
    ),
    (
        FrameSpec("plugin", plugin="a b/x.py:my_frames", params={"tau": 2.5}),
        {"split_by": "plugin", "plugin": "a b/x.py:my_frames", "params": {"tau": 2.5}},
        "plugin-my_frames",
    ),
    (
        FrameSpec("plugin", plugin="voxel/grid 2"),
        {"split_by": "plugin", "plugin": "voxel/grid 2", "params": {}},
        "plugin-voxel_grid_2",
    ),
]


@pytest.mark.parametrize(("spec", "as_dict", "words"), SPECS)
def test_spec_tells_what_it_uses_and_nothing_else(spec, as_dict, words):
    assert spec.to_dict() == as_dict
    assert spec.describe() == words
    assert FrameSpec.from_dict(json.loads(canonical_json(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"split_by": "events"}, "split_by is 'events', expected one of number, time, duration, plugin"),
        ({"split_by": "number"}, "split by number needs T"),
        ({"split_by": "time"}, "split by time needs T"),
        ({"split_by": "duration"}, "split by duration needs duration"),
        ({"split_by": "plugin"}, "split by plugin needs plugin"),
        ({"split_by": "number", "T": 4, "duration": 5}, "duration does not go with split by number"),
        ({"split_by": "duration", "duration": 5, "T": 4}, "T does not go with split by duration"),
        ({"split_by": "time", "T": 4, "plugin": "a:b"}, "plugin does not go with split by time"),
        ({"split_by": "number", "T": 0}, "T is 0, expected a whole number of at least 1"),
        ({"split_by": "number", "T": -3}, "T is -3"),
        ({"split_by": "number", "T": 2.0}, "T is 2.0"),
        ({"split_by": "number", "T": True}, "T is True"),
        ({"split_by": "number", "T": "20"}, "T is '20'"),
        ({"split_by": "duration", "duration": 0}, "duration is 0"),
        ({"split_by": "duration", "duration": 5, "tail": "cut"}, "tail is 'cut', expected keep or drop"),
        ({"split_by": "number", "T": 4, "tail": "drop"}, "tail drop goes with split by duration only"),
        ({"split_by": "number", "T": 4, "params": {"a": 1}}, "parameters go with a plugin only"),
        ({"split_by": "plugin", "plugin": "a:b", "params": {"a": np.int64(1)}}, "JSON values: .*int64"),
        (
            {"split_by": "plugin", "plugin": "a:b", "params": {"a": float("nan")}},
            "parameters of a plugin are JSON values",
        ),
    ],
)
def test_spec_that_makes_no_sense_is_refused(arguments, says):
    with pytest.raises(UsageError, match=says):
        FrameSpec(**arguments)


def test_numpy_integers_make_the_same_digest():
    plain, numpy = FrameSpec("number", T=20), FrameSpec("number", T=np.int32(20))
    assert digest(plain.to_dict()) == digest(numpy.to_dict())
    assert type(numpy.T) is int


def test_canonical_json_is_one_text_for_one_value():
    assert canonical_json({"b": [1, 2.5, None, True], "a": "ü"}) == '{"a":"\\u00fc","b":[1,2.5,null,true]}'
    assert canonical_json({"x": {"d": 1, "c": 2}}) == canonical_json({"x": {"c": 2, "d": 1}})


def test_digest_is_sha256_of_that_text():
    text = b'{"T":20,"split_by":"number"}'
    assert digest(FrameSpec("number", T=20).to_dict()) == hashlib.sha256(text).hexdigest()


def test_every_parameter_changes_the_digest():
    specs = [spec for spec, _, _ in SPECS]
    specs += [FrameSpec("number", T=21), FrameSpec("time", T=20), FrameSpec("duration", duration=8, tail="drop")]
    specs += [FrameSpec("plugin", plugin="a b/x.py:my_frames", params={"tau": 2})]
    assert len({digest(spec.to_dict()) for spec in specs}) == len(specs)


def test_spec_cannot_be_changed():
    with pytest.raises(AttributeError):
        FrameSpec("number", T=20).T = 3


def test_test_double_is_a_frame_source_and_a_list_is_none():
    class Double:
        labels = np.zeros(1, np.int64)
        classes = ("a",)
        spec = FrameSpec("number", T=1)

        def __len__(self):
            return 1

        def __getitem__(self, index):
            return np.zeros((1, 2, 3, 3)), 0

    assert isinstance(Double(), FrameSource)
    assert not isinstance([], FrameSource)


def test_public_names_are_the_ones_of_all():
    assert dvsprep.FrameSpec is FrameSpec
    for name in dvsprep.__all__:
        assert getattr(dvsprep, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = dvsprep.nothing


def test_import_stays_light():
    heavy = "numba", "h5py", "matplotlib", "torch", "requests"
    code = f"import sys, dvsprep, dvsprep.errors; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
