"""EVT 2 and EVT 3: golden words, the header, and what faery leaves to us."""

import struct

import event_files as ef
import pytest
from event_files import EVENTS, NAME, rows

from dvsprep.errors import BackendError, FormatError, UsageError
from dvsprep.events import Policy, evt, foreign

HEAD3 = b"% evt 3.0\n% geometry 1280x720\n"


@pytest.fixture
def read(tmp_path):
    def read(data: bytes, sensor=None, **policy):
        (tmp_path / "r.raw").write_bytes(data)
        return evt.read(tmp_path / "r.raw", NAME, sensor, Policy(**policy))

    return read


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}H", *values)


def test_golden_words_of_evt_3(read):
    # Time 0x801: high 0, low 0x801; row 5; an ON event at x = 16; then a vector from x = 100, OFF: bits 0, 3 and 11.
    data = HEAD3 + words(0x8000, 0x6801, 0x0005, 0x2810, 0x3064, 0x4809)
    assert rows(read(data)) == [(0x801, 16, 5, 1), (0x801, 100, 5, 0), (0x801, 103, 5, 0), (0x801, 111, 5, 0)]


def test_golden_words_of_evt_2(read):
    # Time high 3: 3 << 6 = 192; an ON event 1 us later at (16, 5), an OFF event 63 us later at (2, 1).
    data = b"% evt 2.0\n% geometry 640x480\n" + struct.pack("<3I", 0x80000003, 0x10408005, 0x0FC01001)
    assert rows(read(data)) == [(193, 16, 5, 1), (255, 2, 1, 0)]


@pytest.mark.parametrize(
    ("header", "sensor"),
    [
        ("% evt 3.0\n% geometry 12x10\n", None),
        ("% format EVT3;height=10;width=12\n", None),
        ("% date 2023\n% evt 3.0\n% format EVT3\n% geometry 12x10\n% end\n", None),
        ("% evt 3.0\n", (10, 12)),
        ("% evt 3.0\n% serial caf\u00e9\n% geometry 12x10\n", None),
    ],
)
def test_headers_of_the_wild(read, header, sensor):
    assert rows(read(ef.evt3(EVENTS, header), sensor)) == EVENTS


@pytest.mark.parametrize("end", ["", "% end\n"])
def test_data_that_begin_like_a_header_line_are_data(read, end):
    # 0x2025 is an OFF event at x = 0x25, the letter %, with the row before it; 0x600A holds a newline.
    data = f"% evt 3.0\n% geometry 1280x720\n{end}".encode() + words(0x2025, 0x0005, 0x8000, 0x600A, 0x2801)
    assert rows(read(data)) == [(0, 37, 0, 0), (10, 1, 5, 1)]


def test_start_that_faery_writes_into_the_header_is_added_also_where_the_file_is_copied(read):
    events = [(5, 1, 2, 1), (6, 11, 2, 1)]
    header = "% evt 3.0\n% geometry 10x10\n% t0 1000\n"
    assert rows(read(ef.evt3(events[:1], header))) == [(1005, 1, 2, 1)]
    assert rows(read(ef.evt3(events, header), out_of_range="drop")) == [(1005, 1, 2, 1)]


def test_file_without_a_size_needs_one_from_the_caller(read):
    with pytest.raises(UsageError, match="does not state its sensor size"):
        read(ef.evt2(EVENTS, "% evt 2.0\n"))


@pytest.mark.parametrize("version", ["2.1", "4.0", "E"])
def test_other_versions_are_named(read, version):
    with pytest.raises(FormatError, match=rf"EVT version '{version.removesuffix('.0')}', expected 2 or 3"):
        read(ef.evt3(EVENTS, f"% evt {version}\n"))


def test_cut_word_names_its_byte(read):
    data = ef.evt2(EVENTS)
    with pytest.raises(FormatError, match=f"the word of 4 bytes at byte {len(data) - 4} has 3 bytes"):
        read(data[:-1])
    salvaged = read(data[:-1], salvage=True)
    assert rows(salvaged) == EVENTS[:-1]
    assert salvaged.notes == {"salvaged_bytes_lost": 3}


def test_clock_of_evt_3_is_held_where_a_time_word_runs_backward(read):
    # faery's rule; we cannot tell, so there is no error, and no wrong order either.
    events = [(5000, 1, 1, 1), (1000, 2, 2, 1), (9000, 3, 3, 1)]
    assert [t for t, *_ in rows(read(ef.evt3(events)))] == [5000, 5096, 9000]


def test_clock_of_evt_2_that_runs_backward_is_an_error(read):
    # faery takes it for a wrap and adds 2^34 us.
    with pytest.raises(
        FormatError, match=r"time runs backward at event 1, or stands still for hours: .* after 5000 us"
    ):
        read(ef.evt2([(5000, 1, 1, 1), (1000, 2, 2, 1), (6000, 3, 3, 1)]))


def test_clock_of_evt_2_that_wraps_goes_on(read):
    # 34 bits: the event below is 10 us behind the last before the wrap.
    decoded = read(ef.evt2([(2**34 - 5, 1, 1, 1), (5, 2, 2, 1)]))
    assert [t for t, *_ in rows(decoded)] == [2**34 - 5, 2**34 + 5]


def test_clock_that_wraps_goes_on(read):
    # EVT 3 counts 24 bits: after 4095 in the high word comes 0.
    data = HEAD3 + words(0x8800, 0x8FFF, 0x6FFF, 0x0005, 0x2810, 0x8000, 0x6001, 0x2811)
    assert rows(read(data)) == [(2**24 - 1, 16, 5, 1), (2**24 + 1, 17, 5, 1)]


def test_missing_package_is_one_error_that_names_the_extra(read, monkeypatch):
    def gone(module):
        raise ImportError(f"No module named {module!r}")

    monkeypatch.setattr(foreign, "import_module", gone)
    with pytest.raises(
        BackendError, match=r"needs the package faery.*\(pip install \"dvsprep\[formats\]\"\)"
    ) as caught:
        read(ef.evt3(EVENTS))
    assert caught.value.exit_code == 8
