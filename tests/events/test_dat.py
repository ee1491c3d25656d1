"""DAT versions 1 and 2: golden words of the published descriptions, the naive twin, the header and its versions."""

import struct

import event_files as ef
import numpy as np
import pytest
from event_files import NAME, rows
from hypothesis import given, settings
from hypothesis import strategies as st

from dvsprep.errors import FormatError, UsageError
from dvsprep.events import Policy, dat

# the published descriptions, with its (t, x, y, p); the third is older than the second.
F4 = bytes.fromhex("640000000c440200 c80000002fdf0100 9600000001020200 2c01000002060200")
F4_EVENTS = [(100, 12, 34, 1), (200, 303, 239, 0), (150, 1, 1, 1), (300, 2, 3, 1)]
ATIS = (240, 304)


def read(data: bytes, sensor=ATIS, reader=dat.read, policy=None, **options):
    return reader(np.frombuffer(data, np.uint8), NAME, sensor, Policy(**(policy or {})), **options)


def twin(payload: bytes, x_bits: int, y_bits: int) -> list[tuple[int, int, int, int]]:
    """Decode one record at a time, in the words of the format."""
    found = []
    for at in range(0, len(payload), 8):
        word = int.from_bytes(payload[at : at + 8], "little")
        t, address = word & 0xFFFFFFFF, word >> 32
        found.append((t, address % 2**x_bits, (address >> x_bits) % 2**y_bits, (address >> (x_bits + y_bits)) & 1))
    return found


def test_golden_words_f4_keep_every_event_in_order_of_time():
    # SpikingJelly returns two of these four: it drops the backward one and, with it, a good one at the end.
    with pytest.raises(FormatError, match="time runs backward at event 2: 150 us after 200 us"):
        read(F4, reader=dat.read_v1)
    decoded = read(F4, reader=dat.read_v1, policy={"unsorted": "sort"})
    assert rows(decoded) == sorted(F4_EVENTS)


def test_navgesture_turns_rows_round_and_starts_at_zero():
    decoded = read(F4, reader=dat.read_navgesture, policy={"unsorted": "sort"})
    assert rows(decoded) == [(t - 100, x, 239 - y, p) for t, x, y, p in sorted(F4_EVENTS)]


def test_golden_bytes_of_a_headered_version_2_file():
    # Type 0, size 8 as in N-CARS; then t = 66, x = 42, y = 803, p = 1: 42 | 803 << 14 | 1 << 28 = 0x10c8c02a.
    data = b"% Version 2\n% Date 2017-10-31 11:27:54\n\x00\x08" + bytes.fromhex("42000000 2ac0c810")
    assert rows(read(data, (1000, 100))) == [(66, 42, 803, 1)]


@pytest.mark.parametrize("kind", [0, 0x0C, 0xFF])
def test_any_event_type_is_read(kind):
    data = b"% Version 2\n" + bytes([kind, 8]) + ef.dat(ef.EVENTS, header="")
    assert rows(read(data)) == ef.EVENTS


@pytest.mark.parametrize("size", [0, 4, 7, 9, 16])
def test_another_event_size_is_an_error(size):
    data = b"% Version 2\n\x0c" + bytes([size]) + ef.dat(ef.EVENTS, header="")
    with pytest.raises(FormatError, match=rf"events of {size} bytes \(stated at byte 13\), expected 8"):
        read(data)


@pytest.mark.parametrize(("line", "version"), [("% Version 1\n", 1), ("% Version 2\n", 2), ("% Date today\n", 2)])
def test_version_is_the_header_s_and_2_where_it_does_not_tell(line, version):
    assert rows(read(ef.dat(ef.EVENTS, version, header=line))) == ef.EVENTS


def test_version_asked_for_holds_where_the_header_says_another():
    assert rows(read(ef.dat(ef.EVENTS, 1, header="% Version 2\n"), reader=dat.read_v1)) == ef.EVENTS


def test_unknown_version_is_an_error():
    with pytest.raises(FormatError, match="DAT version '3', expected 1 or 2"):
        read(ef.dat(ef.EVENTS, header="% Version 3\n"))


def test_header_states_the_sensor():
    data = ef.dat(ef.EVENTS, header="% Height 10\n% Version 2\n% Width 12\n")
    assert rows(read(data, None)) == ef.EVENTS
    with pytest.raises(UsageError, match="does not state its sensor size"):
        read(ef.dat(ef.EVENTS), None)


def test_caller_s_sensor_comes_before_the_header_s():
    with pytest.raises(FormatError, match="event 1 lies outside the sensor of 5 x 5"):
        read(ef.dat(ef.EVENTS, header="% Height 10\n% Width 12\n"), (5, 5))


def test_record_that_begins_like_a_header_line_is_data():
    # 0x25 is %; the control characters behind it tell that this is no line.
    events = [(0x25, 1, 2, 1), (0x125, 3, 4, 0)]
    assert rows(read(ef.dat(events, header=""))) == events


def test_polarity_field_above_1_is_an_error_that_names_the_byte():
    data = ef.dat(ef.EVENTS[:1]) + struct.pack("<II", 2000, 5 << 28)
    with pytest.raises(FormatError, match=f"the record at byte {len(data) - 8} has no polarity of 0 or 1"):
        read(data)


def test_start_that_faery_writes_into_the_header_is_added():
    assert rows(read(ef.dat([(5, 1, 2, 1)], header="% Version 2\n% t0 7000000000\n"))) == [(7_000_000_005, 1, 2, 1)]


@settings(deadline=None, max_examples=150)
@given(st.binary(min_size=8, max_size=240), st.sampled_from([(1, 9, 8), (2, 14, 14)]))
def test_reader_equals_its_twin(data, layout):
    version, x_bits, y_bits = layout
    clean = b"".join(data[k : k + 7] + bytes([data[k + 7] & 0x1F]) for k in range(0, len(data) // 8 * 8, 8))
    expected = sorted(twin(clean, x_bits, y_bits), key=lambda e: e[0])  # stable: equal times keep the file's order
    data = b"% Version 2\n\x00\x08" + clean
    decoded = read(data, (1 << y_bits, 1 << x_bits), dat.read, {"unsorted": "sort"}, version=version)
    assert rows(decoded) == expected


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200), st.sampled_from([b"", b"% Version 1\n\x00\x08", b"% Version 2\n\x00\x08"]))
def test_random_bytes_never_crash(data, header):
    for policy in ({}, {"salvage": True, "out_of_range": "drop", "unsorted": "sort"}):
        try:
            found = rows(read(header + data, (34, 34), policy=policy))
        except FormatError as error:
            assert error.message.startswith(f"{NAME}: ")  # noqa: PT017 - both outcomes are right
        else:
            assert all(x < 34 and y < 34 and p < 2 for _, x, y, p in found)
            assert found == sorted(found, key=lambda e: e[0])
