"""AEDAT 4: streams and packets, a cut end, and headers that the aedat package must never see."""

import struct

import event_files as ef
import pytest
from event_files import EVENTS, NAME, rows

from dvsprep.errors import FormatError
from dvsprep.events import Policy, aedat4
from dvsprep.events.reading import load


@pytest.fixture
def read(tmp_path):
    def read(data: bytes, sensor=None, **policy):
        (tmp_path / "r.aedat4").write_bytes(data)
        return aedat4.read(tmp_path / "r.aedat4", NAME, sensor, Policy(**policy))

    return read


@pytest.mark.parametrize("compress", [None, ("lz4", 1), ("zstd", 3)])
def test_packets_are_joined_whatever_packs_them(read, tmp_path, compress):
    data = ef.aedat4([(0, EVENTS[:1]), (0, EVENTS[1:4]), (0, EVENTS[4:])], tmp_path, compress=compress)
    assert rows(read(data)) == EVENTS


def test_lowest_numbered_stream_of_events_is_read(read, tmp_path):
    other = [(1, 1, 1, 0), (2, 2, 2, 0)]
    data = ef.aedat4([(7, other[:1]), (2, EVENTS[:3]), (7, other[1:]), (2, EVENTS[3:])], tmp_path, streams=(7, 2))
    assert rows(read(data)) == EVENTS


def test_times_since_1970_are_whole(read, tmp_path):
    start = 1_589_163_147_368_868
    events = [(start + t, x, y, p) for t, x, y, p in EVENTS]
    assert rows(read(ef.aedat4([(0, events)], tmp_path))) == events


def test_time_that_runs_backward_between_packets_is_named(read, tmp_path):
    data = ef.aedat4([(0, EVENTS[:2]), (0, EVENTS[2:])], tmp_path)
    first, second = struct.pack("<q", 1000), struct.pack("<q", 3000)
    with pytest.raises(FormatError, match="time runs backward at event 1: 2000 us after 3000 us"):
        read(data.replace(first, second, 1))


def test_cut_packet_names_its_byte_and_what_came_before_can_be_saved(read, tmp_path):
    data = ef.aedat4([(0, EVENTS[:2]), (0, EVENTS[2:])], tmp_path)
    second = data.index(b"EVTS", data.index(b"EVTS", data.index(b"</dv>")) + 4) - 16
    size = struct.unpack_from("<I", data, second + 4)[0]
    cut = data[: second + 8 + size - 1]
    with pytest.raises(FormatError, match=f"truncated: the packet at byte {second} is longer than the {7 + size} b"):
        read(cut)
    # The header says where the table behind the last packet lies: beyond this file. Without a table, -1.
    table = struct.pack("<q", second + 8 + size)
    assert data.count(table) == 1
    cut = cut.replace(table, struct.pack("<q", -1))
    with pytest.raises(FormatError, match=f"the packet at byte {second} is longer than the {7 + size} bytes left"):
        read(cut)
    assert rows(read(cut, salvage=True)) == EVENTS[:2]


@pytest.mark.parametrize("compress", [None, ("lz4", 1), ("zstd", 3)])
def test_a_file_cut_anywhere_names_the_byte_and_keeps_what_is_whole(read, tmp_path, compress):
    data = ef.aedat4([(0, EVENTS[:2]), (0, EVENTS[2:])], tmp_path, compress=compress)
    header = 18 + struct.unpack_from("<I", data, 14)[0]
    for size in range(header, len(data)):
        with pytest.raises(FormatError, match=r"truncated: the (packet|table of packets) .*byte [0-9]+"):
            read(data[:size])
        try:
            assert rows(read(data[:size], salvage=True)) in (EVENTS[:2], EVENTS)
        except FormatError as error:
            assert "no events" in str(error)  # noqa: PT017
    assert rows(read(data)) == EVENTS


@pytest.mark.parametrize("name", ["davis346.aedat4", "davis346-two-spots.aedat4"])
def test_real_files_are_whole_and_one_byte_short_they_are_not(real_data, tmp_path, name):
    data = (real_data / "recordings" / name).read_bytes()
    (tmp_path / name).write_bytes(data)
    assert aedat4._cut(load(tmp_path / name), aedat4._header(load(tmp_path / name), name)) == (-1, "")
    (tmp_path / name).write_bytes(data[:-1])
    with pytest.raises(FormatError, match="truncated: the table of packets at byte"):
        aedat4.read(tmp_path / name, name, None, Policy())


def test_header_that_is_no_utf_8_never_reaches_aedat(read, tmp_path):
    # aedat 2.3.0 takes it on trust, and aborts the interpreter.
    data = ef.aedat4([(0, EVENTS)], tmp_path)
    with pytest.raises(FormatError, match="the header at byte 14 is damaged"):
        read(data.replace(b"outInfo", b"out\xddnfo"))


def test_header_without_a_stream_of_events_is_an_error(read, tmp_path):
    data = ef.aedat4([(0, EVENTS)], tmp_path)
    with pytest.raises(FormatError, match="describes no stream of events"):
        read(data.replace(b">EVTS<", b">IMUS<"))


def test_header_that_is_no_xml_is_an_error(read, tmp_path):
    data = ef.aedat4([(0, EVENTS)], tmp_path)
    with pytest.raises(FormatError, match="the description in the header is no XML"):
        read(data.replace(b"</dv>", b"</xv>"))


def test_geometry_is_the_stream_s(tmp_path):
    (tmp_path / "r.aedat4").write_bytes(ef.aedat4([(0, EVENTS)], tmp_path))
    assert aedat4.geometry(tmp_path / "r.aedat4") == (10, 12)
