"""`integrate` takes events from anywhere: what it accepts, and what it refuses by name."""

import numpy as np
import pytest

from dvsprep.errors import FormatError
from dvsprep.integrate import identity, integrate, integrator, widen
from dvsprep.types import Events, FrameSpec

H, W = 3, 4
SPEC = FrameSpec("time", T=2)
GOOD = {"t": np.array([5, 9]), "x": np.array([0, 3]), "y": np.array([0, 2]), "p": np.array([0, 1])}
EXPECTED = integrate(GOOD, SPEC, H, W)


def test_the_good_events_count():
    assert np.argwhere(EXPECTED).tolist() == [[0, 0, 0, 0], [1, 1, 2, 3]]


@pytest.mark.parametrize(
    "change",
    [
        {"t": np.array([5, 9], ">u4")},  # what SpikingJelly keeps of CIFAR10-DVS
        {"t": np.array([5, 9], np.uint64)},
        {"x": np.array([0, 3], ">i2"), "y": np.array([0, 2], np.uint16)},
        {"p": np.array([False, True])},
        {"t": [5, 9], "x": [0, 3], "y": (0, 2), "p": [0, 1]},
    ],
    ids=["big-endian t", "unsigned t", "coordinates", "boolean p", "lists"],
)
def test_any_whole_numbers_are_welcome(change):
    np.testing.assert_array_equal(integrate(GOOD | change, SPEC, H, W), EXPECTED)


def test_structured_array_is_a_mapping_too():
    table = np.zeros(2, [("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "?")])
    for key, column in GOOD.items():
        table[key] = column
    np.testing.assert_array_equal(integrate(table, SPEC, H, W), EXPECTED)


def test_no_events_make_empty_frames():
    assert integrate({"t": [], "x": [], "y": [], "p": []}, SPEC, H, W).tolist() == np.zeros((2, 2, H, W)).tolist()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"x": np.array([0, 4])}, "s7: x runs from 0 to 4, expected 0 to 3"),
        ({"x": np.array([-1, 3])}, "s7: x runs from -1 to 3"),
        ({"y": np.array([0, 3])}, "s7: y runs from 0 to 3, expected 0 to 2"),
        ({"p": np.array([-1, 1])}, "s7: p runs from -1 to 1, expected 0 to 1"),
        ({"p": np.array([0, 2])}, "s7: p runs from 0 to 2"),
        ({"x": np.array([256, 3])}, "s7: x runs from 3 to 256"),  # would be 0 in uint8
        ({"t": np.array([9, 5])}, "s7: t is not in order"),
        ({"t": np.array([9, 5], np.uint32)}, "s7: t is not in order"),  # no difference of unsigned is negative
        ({"t": np.array([9, 5], ">u4")}, "s7: t is not in order"),
        ({"t": np.array([1, 2, 3])}, r"s7: t, x, y, p have shapes \(3,\), \(2,\)"),
        ({k: v[:, None] for k, v in GOOD.items()}, r"have shapes \(2, 1\)"),  # as tonic's ASL-DVS
        ({"t": np.array([0.005, 0.009])}, "s7: t is float64, expected whole numbers"),  # seconds: all would be 0
        ({"x": np.array([0.5, 1.5])}, "s7: x is float64"),
        ({"p": np.array(["0", "1"])}, "s7: p is <U1"),
    ],
)
def test_wrong_events_are_refused_by_name(change, says):
    with pytest.raises(FormatError, match=says):
        integrate(GOOD | change, SPEC, H, W, sample="s7")


def test_callers_events_are_never_changed():
    before = {k: v.copy() for k, v in GOOD.items()}
    integrate(GOOD, SPEC, H, W)
    for key, column in before.items():
        np.testing.assert_array_equal(GOOD[key], column)


def test_widened_coordinates_do_not_wrap():
    compact = {k: v.astype(np.uint8) for k, v in {**GOOD, "y": np.array([200, 200])}.items()}
    wide = widen(compact)
    assert {column.dtype for column in wide.values()} == {np.dtype(np.int64)}
    assert (wide["y"] * 256 + wide["x"]).tolist() == [51200, 51203]


def test_identity_of_a_builtin_is_its_version():
    assert identity(SPEC) == {"version": 1}


def test_no_kernel_ever_sees_an_event_outside_its_frame():
    events = Events(
        t=np.zeros(1, np.int64), x=np.array([9], np.uint8), y=np.zeros(1, np.uint8), p=np.zeros(1, np.uint8)
    )
    with pytest.raises(FormatError, match="do not fit the sensor of 9 x 9"):
        integrator(FrameSpec("number", T=1), 9, 9)(events, "s")
