"""AEDAT 3.1: golden bytes of the published descriptions, the naive twin, and every way a file can be broken."""

import struct

import formats
import naive
import numpy as np
import pytest
from decoding import NAME, check_like_twin, check_sound_or_refused, decode, rows
from hypothesis import given, settings
from hypothesis import strategies as st

from dvsprep.errors import FormatError

FORMAT = "aedat3.1"
HEAD = formats.AEDAT31_HEADER
# A published packet: (x, y, p, valid, t) = (123, 45, 1, 1, 1000), (7, 9, 0, 1, 2000), (1, 2, 1, 0, 3000).
F3_HEADER = "01000000 08000000 04000000 {overflow} 03000000 03000000 02000000"
F3_BODY = "b700f600 e8030000 25000e00 d0070000 0a000200 b80b0000"


def f3(overflow: str = "00000000") -> bytes:
    return bytes.fromhex(F3_HEADER.format(overflow=overflow) + F3_BODY)


def packet_header(kind=1, source=1, size=8, offset=4, overflow=0, capacity=1, number=1, valid=1) -> bytes:
    return struct.pack("<hhiiiiii", kind, source, size, offset, overflow, capacity, number, valid)


@pytest.mark.parametrize(("overflow", "first"), [("00000000", 1000), ("01000000", 2147484648)])
def test_golden_packet_f3_drops_the_invalid_event_and_adds_the_overflow(overflow, first):
    assert rows(decode(FORMAT, HEAD + f3(overflow))) == [(first, 123, 45, 1), (first + 1000, 7, 9, 0)]


@st.composite
def recordings(draw) -> bytes:
    """Packets of all kinds and sizes, the clock near a wrap, invalid events, behind a header of any length."""
    clock = draw(st.sampled_from([0, 2**31 - 40, 2 * 2**31 - 3, 5 * 2**31]))
    parts = [b"#!AER-DAT3.1\r\n#" + b"x" * draw(st.integers(0, 9)) + b"\r\n#!END-HEADER\r\n"]
    for _ in range(draw(st.integers(0, 6))):
        if draw(st.booleans()):
            kind, size = draw(st.sampled_from([(0, 8), (2, 91), (3, 36), (4, 48), (7, 10)]))  # 10 bytes: unaligned
            parts.append(formats.aedat31_other(kind, size, draw(st.integers(0, 3))))
            continue
        event = st.tuples(
            st.integers(0, 30), st.integers(0, 127), st.integers(0, 127), st.integers(0, 1), st.booleans()
        )
        dt, x, y, p, valid = np.array(draw(st.lists(event, max_size=8)), np.int64).reshape(-1, 5).T
        t = clock + np.cumsum(dt)
        clock = int(t[-1]) if len(t) else clock
        for wraps in np.unique(t >> 31):
            of = t >> 31 == wraps
            parts.append(formats.aedat31_packet({"t": t[of], "x": x[of], "y": y[of], "p": p[of]}, valid[of]))
    return b"".join(parts)


@settings(deadline=None, max_examples=150)
@given(recordings())
def test_reader_equals_its_twin(data):
    expected = naive.aedat31(data[data.index(b"#!END-HEADER\r\n") + 14 :])
    check_like_twin(FORMAT, data, expected)


def test_recording_crosses_the_31st_bit():
    e = formats.events(500, 128, 128, start=2**31 - 5000)
    assert e["t"][0] < 2**31 < e["t"][-1]
    expected = list(zip(*(e[k].tolist() for k in ("t", "x", "y", "p")), strict=True))
    assert rows(decode(FORMAT, formats.aedat31(e, packet=7))) == expected


def test_event_number_counts_not_capacity():
    # SpikingJelly reads eventCapacity slots and would swallow the next packet's header (the published descriptions).
    packet = bytearray(f3())
    packet[16:20] = struct.pack("<i", 10)
    assert len(rows(decode(FORMAT, HEAD + bytes(packet) + f3(), unsorted="sort"))) == 4


def test_event_source_may_be_any_source():
    packet = bytearray(f3())
    packet[2:4] = struct.pack("<h", -3)
    assert len(rows(decode(FORMAT, HEAD + bytes(packet)))) == 2


def test_large_sensor_keeps_all_bits_of_a_coordinate():
    e = {"t": np.array([1, 2]), "x": np.array([639, 256]), "y": np.array([479, 255]), "p": np.array([1, 0])}
    decoded = decode(FORMAT, formats.aedat31(e), sensor=(480, 640))
    assert rows(decoded) == [(1, 639, 479, 1), (2, 256, 255, 0)]


@pytest.mark.parametrize(("x", "y"), [(128, 0), (0, 128), (0x7FFF, 3), (3, 0x4000 + 5), (0x2000 + 5, 5), (256, 1)])
def test_event_outside_the_sensor_is_an_error_or_dropped_never_another_pixel(x, y):
    e = {"t": np.arange(3), "x": np.array([1, x, 2]), "y": np.array([1, y, 2]), "p": np.ones(3, int)}
    data = formats.aedat31(e, packet=1)
    with pytest.raises(FormatError, match=r"user01_led.aedat: event 1 lies outside the sensor of 128 x 128.*drop"):
        decode(FORMAT, data)
    assert rows(decode(FORMAT, data, out_of_range="drop")) == [(0, 1, 1, 1), (2, 2, 2, 1)]


def test_invalid_event_outside_the_sensor_does_not_matter():
    e = {"t": np.arange(2), "x": np.array([1, 9999]), "y": np.array([1, 1]), "p": np.ones(2, int)}
    assert rows(decode(FORMAT, HEAD + formats.aedat31_packet(e, np.array([1, 0])))) == [(0, 1, 1, 1)]


def test_time_that_runs_backward_is_an_error_or_sorted_stably():
    e = {"t": np.array([5, 9, 3, 5]), "x": np.arange(4), "y": np.zeros(4, int), "p": np.zeros(4, int)}
    data = formats.aedat31(e)
    with pytest.raises(FormatError, match=r"backward at event 2: 3 us after 9 us \(--unsorted sort"):
        decode(FORMAT, data)
    decoded = decode(FORMAT, data, unsorted="sort")
    assert [(t, x) for t, x, _, _ in rows(decoded)] == [(3, 2), (5, 0), (5, 3), (9, 1)]
    assert decoded.notes == {"sorted": 1}


def test_sorting_keeps_the_files_order_of_events_of_one_time():
    e = {"t": np.arange(2000) % 7, "x": np.arange(2000) % 128, "y": np.arange(2000) // 128, "p": np.zeros(2000, int)}
    expected = sorted(zip(*(e[k].tolist() for k in "txyp"), strict=True), key=lambda event: event[0])
    assert rows(decode(FORMAT, formats.aedat31(e), unsorted="sort")) == expected


def test_cut_at_every_byte_names_the_packet_or_is_right():
    parts = [formats.aedat31_other(7, 10, 1), f3(), formats.aedat31_other(3, 36, 1), f3("01000000")]
    data, starts = HEAD + b"".join(parts), [len(HEAD)]
    for part in parts:
        starts.append(starts[-1] + len(part))
    for cut in range(len(data)):
        piece = data[:cut]
        whole = max((s for s in starts if s <= cut), default=0)  # where the last whole packet ends
        expected = naive.aedat31(data[len(HEAD) : whole])
        if cut == 0:
            error = "the file is empty"
        elif cut < len(b"#!AER-DAT3.1"):
            error = "no AEDAT 3.1 file: starts with"
        elif cut < len(HEAD):
            error = "no line #!END-HEADER"
        elif cut in starts:
            check_like_twin(FORMAT, piece, expected)
            continue
        else:
            error = f"truncated: the packet at byte {whole} is longer than the {cut - whole} bytes left"
            if expected:
                salvaged = decode(FORMAT, piece, salvage=True)
                assert rows(salvaged) == expected
                assert salvaged.notes == {"salvaged_bytes_lost": cut - whole}
            else:
                with pytest.raises(FormatError, match="holds no events"):
                    decode(FORMAT, piece, salvage=True)
        with pytest.raises(FormatError) as caught:
            decode(FORMAT, piece)
        assert caught.value.message.startswith(f"{NAME}: {error}")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "the file is empty"),
        (HEAD, "holds no events"),
        (HEAD + formats.aedat31_other(0, 8, 3), "holds no events"),
        (HEAD + packet_header(number=0), "holds no events"),
        (b"#!AER-DAT2.0\r\n# x\r\n", "no AEDAT 3.1 file: starts with '#!AER-DAT2.0', expected '#!AER-DAT3.1'"),
        (b"#!AER-DAT3.0\r\n#!END-HEADER\r\n", "starts with '#!AER-DAT3.0'"),
        (b"PK\x03\x04....", "no AEDAT 3.1 file"),
        (HEAD.replace(b"#!END-HEADER\r\n", b"") + f3(), "no line #!END-HEADER in the first"),
    ],
)
def test_file_that_is_none_says_what_it_is(data, says):
    with pytest.raises(FormatError) as caught:
        decode(FORMAT, data)
    assert says in str(caught.value)
    assert str(caught.value).startswith(NAME)


@pytest.mark.parametrize(
    "bad",
    [
        b"\xff" * 40,
        bytes(40),
        b"#Source 2: lost header line\r\n" + bytes(40),
        packet_header(size=-8) + bytes(8),
        packet_header(number=-1) + bytes(8),
        packet_header(overflow=-1) + bytes(8),
        packet_header(kind=-1) + bytes(8),
        packet_header(kind=300) + bytes(8),
        packet_header(size=7) + bytes(8),
        packet_header(size=16) + bytes(16),
        packet_header(kind=3, size=0) + bytes(8),
    ],
)
@pytest.mark.parametrize("salvage", [False, True])
def test_garbage_where_a_packet_header_should_be_names_the_byte(bad, salvage):
    with pytest.raises(FormatError, match=rf"no AEDAT 3.1 packet header at byte {len(HEAD) + len(f3())}$"):
        decode(FORMAT, HEAD + f3() + bad, salvage=salvage)


def test_packet_of_two_thousand_million_events_does_not_wrap_the_sum():
    with pytest.raises(FormatError, match="longer than the 36 bytes left"):
        decode(FORMAT, HEAD + packet_header(kind=3, size=2**31 - 1, number=2**31 - 1) + bytes(8))


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=300), st.booleans())
def test_random_bytes_never_crash(data, with_header):
    check_sound_or_refused(FORMAT, (HEAD if with_header else b"") + data, (128, 128))


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=6))
def test_flipped_bytes_in_a_good_file_never_crash(flips):
    data = bytearray(HEAD + f3() + formats.aedat31_other(3, 36, 1) + f3("01000000"))
    for at, value in flips:
        data[at % len(data)] = value
    check_sound_or_refused(FORMAT, bytes(data), (128, 128))
