"""Event Stream: golden bytes, orientation, and the types that are not read."""

import event_files as ef
import pytest
from event_files import EVENTS, NAME, rows

from dvsprep.errors import FormatError
from dvsprep.events import Policy, es

# Version 2.0.0, type 1, 30 x 32; 127 us pass; then 5 us later ON at x = 19, y = 15 from the bottom.
HEAD = b"Event Stream\x02\x00\x00\x01\x1e\x00\x20\x00"
BODY = bytes.fromhex("ff 0b 1300 0f00")


@pytest.fixture
def read(tmp_path):
    def read(data: bytes, sensor=None, **policy):
        (tmp_path / "r.es").write_bytes(data)
        return es.read(tmp_path / "r.es", NAME, sensor, Policy(**policy))

    return read


def test_golden_bytes_count_rows_from_the_bottom(read):
    assert rows(read(HEAD + BODY)) == [(132, 19, 31 - 15, 1)]


def test_reset_byte_between_events_is_skipped(read):
    assert rows(read(HEAD + BODY + b"\xfe" + BODY)) == [(132, 19, 16, 1), (264, 19, 16, 1)]


def test_size_is_the_file_s_own_and_a_larger_sensor_does_not_move_rows(read):
    assert rows(read(ef.es(EVENTS))) == EVENTS
    assert rows(read(ef.es(EVENTS), (100, 100))) == EVENTS


@pytest.mark.parametrize(("kind", "name"), [(0, "generic"), (2, "atis"), (4, "color"), (9, "unknown")])
def test_other_types_are_named(read, kind, name):
    with pytest.raises(FormatError, match=rf"type {kind} \({name}\) at byte 15, expected 1 \(dvs\)"):
        read(ef.es(EVENTS, kind=kind))


def test_another_major_version_is_an_error(read):
    with pytest.raises(FormatError, match=r"Event Stream version 1\.2\.3, expected 2\.x"):
        read(b"Event Stream\x01\x02\x03\x01\x1e\x00\x20\x00" + BODY)


def test_cut_event_names_its_byte(read):
    with pytest.raises(FormatError, match=r"the event of 5 bytes at byte 27 has 3 bytes"):
        read(HEAD + BODY + b"\xfe" + BODY[1:4])
    salvaged = read(HEAD + BODY + b"\xfe" + BODY[1:4], salvage=True)
    assert rows(salvaged) == [(132, 19, 16, 1)]
    assert salvaged.notes == {"salvaged_bytes_lost": 3}


def test_sensor_of_no_pixels_is_an_error(read):
    with pytest.raises(FormatError, match="a sensor of 0 x 32 at byte 16"):
        read(HEAD[:16] + b"\x00\x00\x20\x00" + BODY)
