"""ATIS 40-bit records: golden bytes of the published descriptions, the naive twin, and broken files."""

import formats
import naive
import numpy as np
import pytest
from decoding import NAME, check_like_twin, check_sound_or_refused, decode, rows
from hypothesis import given, settings
from hypothesis import strategies as st

from dvsprep.errors import FormatError

FORMAT, SENSOR = "atis", (34, 34)
F1 = bytes.fromhex("07 0f 80 02 8e  13 12 00 0b b7  15 11 00 0b c9  0a 12 00 0f 35")  # the published descriptions
F1_EVENTS = [(654, 7, 15, 1), (2999, 19, 18, 0), (3017, 21, 17, 0), (3893, 10, 18, 0)]


def record(t: int, x: int = 1, y: int = 2, p: int = 0) -> bytes:
    return (x << 32 | y << 24 | p << 23 | t).to_bytes(5, "big")


def test_golden_bytes_f1():
    assert rows(decode(FORMAT, F1, SENSOR)) == F1_EVENTS


def test_writer_and_reader_are_inverse():
    e = formats.events(300, 34, 34)
    assert rows(decode(FORMAT, formats.atis(e), SENSOR)) == list(zip(*(e[k].tolist() for k in "txyp"), strict=True))


def test_all_23_bits_of_the_clock_count_and_none_of_the_polarity():
    assert rows(decode(FORMAT, record(2**23 - 1, p=1), SENSOR)) == [(2**23 - 1, 1, 2, 1)]


def test_each_overflow_marker_adds_8192_us_to_all_that_follow():
    # y = 240 marks an overflow in the authors' reader (gorchard/event-Python); the marker is no event.
    data = record(5) + record(0, y=240) + record(6) + record(77, x=200, y=240) + record(7)
    assert [t for t, *_ in rows(decode(FORMAT, data, SENSOR))] == [5, 6 + 8192, 7 + 2 * 8192]


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**23 - 1),
            st.integers(0, 33),
            st.one_of(st.integers(0, 33), st.just(240)),
            st.integers(0, 1),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_reader_equals_its_twin(events):
    payload = b"".join(record(*e) for e in events)
    expected = sorted(naive.atis(payload), key=lambda e: e[0])  # stable: equal times keep the file's order
    check_like_twin(FORMAT, payload, expected, sensor=SENSOR, unsorted="sort")


@pytest.mark.parametrize(("x", "y"), [(34, 0), (0, 34), (255, 0), (0, 239), (0, 241)])
def test_event_outside_the_sensor_is_an_error_or_dropped(x, y):
    data = record(1) + record(2, x, y) + record(3)
    with pytest.raises(FormatError, match=r"event 1 lies outside the sensor of 34 x 34"):
        decode(FORMAT, data, SENSOR)
    assert [t for t, *_ in rows(decode(FORMAT, data, SENSOR, out_of_range="drop"))] == [1, 3]


def test_wide_sensor_says_width_before_height():
    with pytest.raises(FormatError, match=r"240 x 180 \(width x height\)"):
        decode(FORMAT, record(1, x=1, y=180), (180, 240))
    assert rows(decode(FORMAT, record(1, x=239, y=179), (180, 240))) == [(1, 239, 179, 0)]


def test_time_that_runs_backward_is_an_error_or_sorted():
    data = record(9) + record(3)
    with pytest.raises(FormatError, match="backward at event 1: 3 us after 9 us"):
        decode(FORMAT, data, SENSOR)
    assert [t for t, *_ in rows(decode(FORMAT, data, SENSOR, unsorted="sort"))] == [3, 9]


def test_cut_at_every_byte_names_the_record_or_is_right():
    for cut in range(1, len(F1)):
        whole, rest = divmod(cut, 5)
        if rest == 0:
            assert rows(decode(FORMAT, F1[:cut], SENSOR)) == F1_EVENTS[:whole]
            continue
        with pytest.raises(FormatError) as caught:
            decode(FORMAT, F1[:cut], SENSOR)
        error = f"{NAME}: truncated: the record of 5 bytes at byte {5 * whole} has {rest} bytes"
        assert caught.value.message == error
        if whole:
            salvaged = decode(FORMAT, F1[:cut], SENSOR, salvage=True)
            assert rows(salvaged) == F1_EVENTS[:whole]
            assert salvaged.notes == {"salvaged_bytes_lost": rest}


@pytest.mark.parametrize(("data", "says"), [(b"", "the file is empty"), (record(0, y=240), "holds no events")])
def test_file_without_events_is_an_error(data, says):
    with pytest.raises(FormatError, match=says):
        decode(FORMAT, data, SENSOR)


def test_small_sensor_has_small_columns():
    assert decode(FORMAT, F1, SENSOR).events["x"].dtype == np.uint8
    assert decode(FORMAT, F1, (34, 257)).events["x"].dtype == np.uint16


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_random_bytes_never_crash(data):
    check_sound_or_refused(FORMAT, data, SENSOR)
