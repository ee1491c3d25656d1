"""AEDAT 2.0 of a DVS128: golden words of the published descriptions, the naive twin, and broken files."""

import formats
import naive
import numpy as np
import pytest
from decoding import NAME, check_like_twin, check_sound_or_refused, decode, rows
from hypothesis import given, settings
from hypothesis import strategies as st

from dvsprep.errors import FormatError
from dvsprep.events import READERS, Policy

FORMAT = "aedat2-dvs128"
HEAD = formats.AEDAT2_HEADER
# the published descriptions, with what SpikingJelly makes of it; the third word has x field 10, y field 5.
F2 = bytes.fromhex("00000000 000003e8 00007fff 000003e9 00000514 000003ea 00000515 000003eb")
F2_EVENTS = [(1000, 127, 127, 1), (1001, 0, 0, 0), (1002, 122, 117, 1), (1003, 122, 117, 0)]


def words(*pairs: tuple[int, int]) -> bytes:
    return np.array(pairs, ">u4").tobytes()


def test_golden_words_f2_in_the_orientation_of_spikingjelly():
    assert rows(decode(FORMAT, HEAD + F2)) == F2_EVENTS


@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
@pytest.mark.parametrize("lines", [1, 2, 5])
def test_header_ends_at_the_first_line_without_hash(newline, lines):
    head = b"".join([b"#!AER-DAT2.0" + newline] + [b"# line %d \xe9" % i + newline for i in range(1, lines)])
    assert rows(decode(FORMAT, head + F2)) == F2_EVENTS


def test_writer_and_reader_are_inverse():
    e = formats.events(300, 128, 128)
    assert rows(decode(FORMAT, formats.aedat2(e))) == list(zip(*(e[k].tolist() for k in "txyp"), strict=True))


def test_special_events_of_bit_15_are_no_pixels():
    data = HEAD + words((0x8000, 5), (0x0514, 6), (0xFFFF, 7))
    assert rows(decode(FORMAT, data)) == [(6, 122, 117, 1)]


def test_backward_clock_goes_on_from_the_last_time_as_in_the_authors_reader():
    # 300 -> 10: the last time before the jump is added to all that follow; twice here.
    decoded = decode(FORMAT, HEAD + words((0, 100), (0, 300), (0, 10), (0, 20), (0, 5)))
    assert [t for t, *_ in rows(decoded)] == [100, 300, 310, 320, 325]
    assert decoded.notes == {"clock_jumps_repaired": 2}


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 2**32 - 1)), max_size=30))
def test_reader_equals_its_twin(pairs):
    payload = words(*pairs) if pairs else b""
    check_like_twin(FORMAT, HEAD + payload, naive.aedat2(payload))


def test_address_above_16_bits_is_outside_the_sensor():
    data = HEAD + words((0x0514, 6), (0x10514, 7), (0x0514, 8))
    with pytest.raises(FormatError, match="event 1 lies outside"):
        decode(FORMAT, data)
    assert [t for t, *_ in rows(decode(FORMAT, data, out_of_range="drop"))] == [6, 8]


def test_cut_at_every_byte_names_the_record_or_is_right():
    data = HEAD + F2
    lines = [i + 1 for i in range(len(HEAD)) if HEAD[i : i + 1] == b"\n"]  # a cut here leaves a header only
    for cut in range(len(data)):
        piece, rest = data[:cut], (cut - len(HEAD)) % 8
        if cut == 0:
            error = "the file is empty"
        elif cut < len(b"#!AER-DAT2.0"):
            error = "no AEDAT 2.0 file: starts with"
        elif cut in lines:
            error = "the recording holds no events"
        elif cut < len(HEAD):
            error = f"the header line at byte {max([0, *(n for n in lines if n < cut)])} never ends"
        elif rest == 0:
            assert rows(decode(FORMAT, piece)) == F2_EVENTS[: (cut - len(HEAD)) // 8]
            continue
        else:
            error = f"truncated: the record of 8 bytes at byte {cut - rest} has {rest} bytes"
            if cut - len(HEAD) > 8:
                salvaged = decode(FORMAT, piece, salvage=True)
                assert rows(salvaged) == F2_EVENTS[: (cut - len(HEAD)) // 8]
                assert salvaged.notes == {"salvaged_bytes_lost": rest}
        with pytest.raises(FormatError) as caught:
            decode(FORMAT, piece)
        assert caught.value.message.startswith(f"{NAME}: {error}")


def test_another_version_says_what_it_is():
    with pytest.raises(FormatError, match=r"starts with '#!AER-DAT3.1', expected '#!AER-DAT2.0'"):
        decode(FORMAT, formats.AEDAT31_HEADER)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200), st.booleans())
def test_random_bytes_never_crash(data, with_header):
    check_sound_or_refused(FORMAT, (HEAD if with_header else b"") + data, (128, 128))


@pytest.mark.parametrize("format", ["aedat2-dvs128", "aedat2-jaer"])
def test_a_smaller_sensor_is_checked_after_the_coordinates_are_turned_round(format):
    # x field 3 and y field 100: 124 and 27 in pixels, whichever way round
    word = (100 << 8 | 3 << 1).to_bytes(4, "big") + (7).to_bytes(4, "big")
    data = np.frombuffer(formats.AEDAT2_HEADER + word, np.uint8)
    with pytest.raises(FormatError, match="event 0 lies outside the sensor of 64 x 64"):
        READERS[format][0](data, "r", (64, 64), Policy())
    inside = READERS[format][0](data, "r", (128, 128), Policy()).events
    assert sorted([int(inside["x"][0]), int(inside["y"][0])]) == [27, 124]
