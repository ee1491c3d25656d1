"""Label csv files: what is accepted, what is refused with file and line, and which rows make a sample."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvsprep.errors import LabelError, UsageError
from dvsprep.events import Row, Sample, read_csv, samples

HEAD = b"class,startTime_usec,endTime_usec"
CLASSES = 11
# As in a trial of DVS128 Gesture: arm roll twice, the rows of 9 and 10 overlap (user22_led), 8 comes before 3.
ROWS = [
    Row(7, 100, 200, 2),
    Row(2, 300, 400, 3),
    Row(7, 150, 250, 4),
    Row(8, 500, 700, 5),
    Row(9, 650, 800, 6),
    Row(7, 900, 950, 7),
]


@pytest.fixture
def read(tmp_path):
    def read(data: bytes) -> list[Row]:
        (tmp_path / "user01_led_labels.csv").write_bytes(data)
        return read_csv(tmp_path / "user01_led_labels.csv", CLASSES)

    return read


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (HEAD + b"\n1,10,20\n11,20,30\n", (2, 3)),
        (HEAD + b"\n1,10,20\n11,20,30", (2, 3)),
        (HEAD + b"\r\n1,10,20\r\n11,20,30\r\n", (2, 3)),
        (b"\xef\xbb\xbf" + HEAD + b"\n1,10,20\n11,20,30\n", (2, 3)),
        (HEAD + b"\n\n1,10,20\n  \n\n11,20,30\n\n\n", (3, 6)),
        (b"class, startTime_usec, endTime_usec\n 1, 10 ,20\n11,20, 30 \n", (2, 3)),
    ],
    ids=["plain", "no newline at the end", "CRLF", "BOM", "blank lines", "spaces"],
)
def test_classes_count_from_zero_and_rows_know_their_line(read, data, lines):
    assert read(data) == [Row(0, 10, 20, lines[0]), Row(10, 20, 30, lines[1])]


def test_rows_keep_their_order_overlaps_and_repeated_classes(read):
    text = "".join(f"{r.label + 1},{r.start},{r.end}\n" for r in ROWS)
    assert read(HEAD + b"\n" + text.encode()) == ROWS


def test_times_beyond_the_31st_bit_are_whole(read):
    assert read(HEAD + b"\n3,2147483647,4294967301\n") == [Row(2, 2**31 - 1, 2**32 + 5, 2)]


@pytest.mark.parametrize(
    ("data", "line", "says"),
    [
        (b"", 1, "an empty file"),
        (HEAD + b"\n", 0, "no rows below the header"),
        (HEAD + b"\n\n  \n", 0, "no rows below the header"),
        (b"1,10,20\n", 1, "expected the header 'class,startTime_usec,endTime_usec', got '1,10,20'"),
        (b"class,startTime_usec\n1,10\n", 1, "expected the header"),
        (HEAD + b"\n1,10,20\n1,10\n", 3, "expected three whole numbers, got '1,10'"),
        (HEAD + b"\n1,10,20,30\n", 2, "expected three whole numbers"),
        (HEAD + b"\n1,10,2e6\n", 2, "expected three whole numbers"),
        (HEAD + b"\n1,10.0,20\n", 2, "expected three whole numbers"),
        (HEAD + b"\none,10,20\n", 2, "expected three whole numbers"),
        (HEAD + b"\n1;10;20\n", 2, "expected three whole numbers"),
        (HEAD + b"\n,,\n", 2, "expected three whole numbers"),
        (HEAD + b"\n\xff\xfe,1,2\n", 2, "expected three whole numbers"),
        (HEAD + b"\n0,10,20\n", 2, "class 0 is unknown, expected 1 to 11"),
        (HEAD + b"\n\n12,10,20\n", 3, "class 12 is unknown, expected 1 to 11"),
        (HEAD + b"\n-1,10,20\n", 2, "class -1 is unknown"),
        (HEAD + b"\n1,20,10\n", 2, "ends at 10 us, not after its start at 20 us"),
        (HEAD + b"\n1,20,20\n", 2, "ends at 20 us, not after its start at 20 us"),
        (HEAD + b"\n1,-5,20\n", 2, "the window -5 to 20 us is no time of a recording"),
        (HEAD + b"\n1,5,9223372036854775808\n", 2, "is no time of a recording"),
    ],
)
def test_wrong_file_is_refused_with_file_and_line(read, data, line, says):
    with pytest.raises(LabelError) as caught:
        read(data)
    place = "user01_led_labels.csv:" + (f"{line}:" if line else " ")
    assert place in str(caught.value)
    assert says in str(caught.value)


def test_every_row_is_a_sample_by_default():
    made = samples(ROWS, "user22_led", "rows")
    assert made[0] == Sample("user22_led_row01", 7, ((100, 200),), 2)
    assert [s.id[-2:] for s in made] == ["01", "02", "03", "04", "05", "06"]
    assert [s.label for s in made] == [7, 2, 7, 8, 9, 7]
    assert [s.windows for s in made] == [((r.start, r.end),) for r in ROWS]


def test_first_keeps_the_first_row_of_each_class():
    assert samples(ROWS, "u", "first") == (
        Sample("u_class03", 2, ((300, 400),), 3),
        Sample("u_class08", 7, ((100, 200),), 2),
        Sample("u_class09", 8, ((500, 700),), 5),
        Sample("u_class10", 9, ((650, 800),), 6),
    )


def test_merged_joins_all_windows_of_a_class():
    made = {s.label: s for s in samples(ROWS, "u", "merged")}
    assert sorted(made) == [2, 7, 8, 9]
    assert made[7] == Sample("u_class08", 7, ((100, 250), (900, 950)), 2)
    assert made[8].windows == ((500, 700),)  # overlap with another class stays


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30)), min_size=1, max_size=8))
def test_merged_windows_hold_each_instant_of_the_rows_once(spans):
    rows = [Row(0, start, start + length, 2) for start, length in spans]
    (merged,) = samples(rows, "u", "merged")
    instants = [t for start, end in merged.windows for t in range(start, end)]
    assert instants == sorted({t for row in rows for t in range(row.start, row.end)})


def test_ids_are_unique_even_with_a_hundred_rows_of_one_class():
    many = [Row(0, k, k + 1, k) for k in range(120)]
    assert len({s.id for s in samples(many, "u", "rows")}) == 120


def test_unknown_choice_of_instances_is_refused():
    with pytest.raises(UsageError, match="instances is 'all', expected rows, first or merged"):
        samples(ROWS, "u", "all")
