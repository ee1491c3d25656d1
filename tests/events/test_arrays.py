"""Readers of NumPy, MATLAB and text files: layouts of the published descriptions, and what is refused."""

import io
import os
import pickle
import zipfile

import event_files as ef
import numpy as np
import pytest
from event_files import EVENTS, NAME, SENSOR, rows
from hypothesis import given, settings
from hypothesis import strategies as st

from dvsprep.errors import FormatError
from dvsprep.events import Policy, mat, npy, text
from dvsprep.events.foreign import from_arrays

T, X, Y, P = (np.array(column) for column in zip(*EVENTS, strict=True))


def read(reader, data: bytes, sensor=SENSOR, policy=None, **options):
    return reader(np.frombuffer(data, np.uint8), NAME, sensor, Policy(**(policy or {})), **options)


# --- what every array reader checks


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.uint64, ">u4", ">f8", np.float32, np.float16])
def test_columns_of_any_number_type_are_ours_afterwards(dtype):
    given = {"t": T // 1000, "x": X, "y": Y, "p": P}
    decoded = from_arrays({k: v.astype(dtype) for k, v in given.items()}, NAME, SENSOR, Policy())
    assert rows(decoded) == [(t // 1000, x, y, p) for t, x, y, p in EVENTS]


def test_polarity_of_minus_one_is_off():
    decoded = from_arrays({"t": T, "x": X, "y": Y, "p": np.where(P, 1, -1)}, NAME, SENSOR, Policy())
    assert rows(decoded) == EVENTS


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("p", 2, "event 1 has the polarity 2"),
        ("p", -2, "event 1 has the polarity -2"),
        ("t", -1, "event 1 has the time -1"),
        ("t", np.nan, "event 1 has the t nan"),
        ("t", np.inf, "event 1 has the t inf"),
        ("t", 1e30, r"event 1 has the t 1e\+30"),
        ("x", 1.5, "event 1 has the x 1.5"),
        ("y", np.nan, "event 1 has the y nan"),
    ],
)
def test_value_that_cannot_be_is_named(key, value, says):
    columns = {"t": T, "x": X, "y": Y, "p": P}
    columns[key] = columns[key].astype(type(value) if isinstance(value, int) else float)
    columns[key][1] = value
    with pytest.raises(FormatError, match=f"^{NAME}: {says}, which cannot be"):
        from_arrays(columns, NAME, SENSOR, Policy())


def test_time_beyond_int64_is_named():
    t = np.array([1, 2, 2**63, 4], np.uint64)
    with pytest.raises(FormatError, match="event 2 has the time 9223372036854775808"):
        from_arrays({"t": t, "x": X[:4], "y": Y[:4], "p": P[:4]}, NAME, SENSOR, Policy())


@pytest.mark.parametrize("wrong", [X[:-1], X[:, None], np.array(["a"] * 5), X.astype(complex)])
def test_columns_that_do_not_fit_together_are_refused(wrong):
    with pytest.raises(FormatError, match=r"the columns differ in shape|column x holds"):
        from_arrays({"t": T, "x": wrong, "y": Y, "p": P}, NAME, SENSOR, Policy())


# --- npy and npz


def test_dvs_lip_has_small_signed_fields_and_no_flip():
    e = [(0, 0, 0, 0), (5, 127, 3, 1), (9, 64, 127, 1)]
    assert rows(read(npy.read_structured, ef.dvslip(e), (128, 128))) == e


def test_missing_field_or_array_is_named():
    array = np.zeros(3, [("t", "<i4"), ("x", "i1"), ("y", "i1")])
    with pytest.raises(FormatError, match="no field p in"):
        read(npy.read_structured, ef.npy(array))
    with pytest.raises(FormatError, match="no array p; found t, x, y"):
        read(npy.read_npz, ef.npz(t=T, x=X, y=Y))


def test_es_imagenet_pos_is_on_and_comes_first_within_a_step():
    pos = np.array([[5, 1, 2], [6, 2, 1]], np.uint8)  # row, column, step
    neg = np.array([[7, 3, 1], [8, 4, 8]], np.uint8)
    data = ef.npz(pos=pos, neg=neg)
    steps = [(1, 2, 6, 1), (1, 3, 7, 0), (2, 1, 5, 1), (8, 4, 8, 0)]
    assert rows(read(npy.read_es_imagenet, data)) == steps
    assert rows(read(npy.read_es_imagenet, data, step=1000)) == [(1000 * t, x, y, p) for t, x, y, p in steps]


@pytest.mark.parametrize("step", [0, 9])
def test_es_imagenet_has_eight_steps(step):
    pos, neg = np.array([[5, 1, step]], np.uint8), np.zeros((0, 3), np.uint8)
    with pytest.raises(FormatError, match=f"event 0 is of step {step}, expected 1 to 8"):
        read(npy.read_es_imagenet, ef.npz(pos=pos, neg=neg))


def test_milliseconds_of_tonic_s_mirror_become_whole_microseconds():
    array = np.array([[3, 2, 1, 0.001], [0, 0, 0, 16.403]], np.float64)
    assert rows(read(npy.read_gesture_ms, ef.npy(array))) == [(1, 3, 2, 1), (16403, 0, 0, 0)]


@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_order_of_an_array_does_not_matter(order):
    array = np.array(EVENTS, np.int32, order=order)
    assert rows(read(npy.read_poker, ef.npy(array))) == EVENTS


def test_header_that_promises_more_than_the_file_holds_is_an_error():
    data = ef.npy(np.zeros((3, 4)))
    lies = data.replace(b"(3, 4)", b"(9**9,")
    with pytest.raises(FormatError, match="damaged NumPy header"):
        read(npy.read_poker, lies)
    huge = data.replace(b"(3, 4), }            ", b"(99999999999999, 4), }")
    with pytest.raises(FormatError, match=r"truncated: 9\d bytes from byte 128, expected 3199999999999968|damaged"):
        read(npy.read_poker, huge[: len(data)])


def test_encrypted_or_exotic_zip_is_an_error():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for key in "txyp":
            archive.writestr(f"{key}.npy", ef.npy(T))
    locked = bytearray(file.getvalue())
    at = 0
    while (at := locked.find(b"PK\x01\x02", at)) >= 0:  # the encryption bit of each entry of the directory
        locked[at + 8] |= 1
        at += 4
    with pytest.raises(FormatError, match=r"a damaged npz archive: .*encrypted"):
        read(npy.read_npz, bytes(locked))


# --- pickles of Bullying10K


@pytest.mark.parametrize("packet", [1, 2, 5])
def test_packets_of_records_are_joined(packet):
    assert rows(read(npy.read_bullying10k, ef.bullying(EVENTS, packet))) == EVENTS


def objects(items: list) -> np.ndarray:
    array = np.empty(len(items), object)
    array[:] = items
    return array


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "packets",
    [
        objects([[(*e, 0, 0) for e in EVENTS[:2]], [(*e, 0, 0) for e in EVENTS[2:]]]),
        objects([np.array(EVENTS[:2], np.int64), np.array(EVENTS[2:], np.int64)]),
        objects([np.array([(*e, 0, 0) for e in EVENTS], [(n, f.replace("<", ">")) for n, f in ef.AER]), []]),
        objects([np.zeros(0, ef.AER), np.array([(*e, 0, 0) for e in EVENTS], ef.AER)]),
    ],
    ids=["tuples", "plain arrays", "big-endian records", "an empty packet"],
)
def test_packets_in_other_shapes_are_read_too(packets, protocol):
    header = ef.npy(objects([]))
    header = header[: header.index(b"\n") + 1]
    assert rows(read(npy.read_bullying10k, header + pickle.dumps(packets, protocol))) == EVENTS


class Evil:
    """Unpickled, it would run a command."""

    def __reduce__(self):
        return os.system, ("touch /tmp/dvsprep-was-here",)


@pytest.mark.parametrize("evil", [objects([Evil()]), objects([[Evil()]]), Evil()], ids=["packet", "event", "root"])
def test_pickle_that_would_run_code_is_refused_by_name(evil, tmp_path):
    header = ef.npy(objects([]))
    header = header[: header.index(b"\n") + 1]
    with pytest.raises(FormatError, match=r"wants (posix|nt).system from its pickle, which is refused"):
        read(npy.read_bullying10k, header + pickle.dumps(evil))
    assert not os.path.exists("/tmp/dvsprep-was-here")


@pytest.mark.parametrize("name", ["eval", "getattr", "__import__", "open"])
def test_builtins_are_refused(name):
    header = ef.npy(objects([]))
    header = header[: header.index(b"\n") + 1]
    with pytest.raises(FormatError, match=f"wants builtins.{name}"):
        read(npy.read_bullying10k, header + b"cbuiltins\n" + name.encode() + b"\n.")


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=300))
def test_random_pickles_are_events_or_an_error(data):
    header = ef.npy(objects([]))
    header = header[: header.index(b"\n") + 1]
    with pytest.raises(FormatError, match=f"^{NAME}: "):
        read(npy.read_bullying10k, header + data)


# --- MATLAB


def test_asl_dvs_is_turned_as_spikingjelly_has_it():
    column = np.array([[1], [2]], np.int32)
    data = ef.mat(ts=column, x=np.array([[0], [239]]), y=np.array([[0], [100]]), pol=np.array([[1], [0]]))
    assert rows(read(mat.read_asldvs, data, (180, 240))) == [(1, 239, 179, 1), (2, 0, 79, 0)]


def test_one_event_asl_file_is_a_recording():
    one = np.array([[5]], np.uint16)
    assert rows(read(mat.read_asldvs, ef.mat(ts=one, x=one, y=one, pol=one // 5), (180, 240))) == [(5, 234, 174, 1)]


def test_st_mnist_column_may_hold_several_taxels():
    train = np.zeros((101, 2))
    train[100] = [0.1966, 0.8957]
    train[[0, 23, 99], 0] = [1, -1, 1]
    train[9, 1] = -1
    expected = [(196600, 0, 0, 1), (196600, 3, 2, 0), (196600, 9, 9, 1), (895700, 9, 0, 0)]
    assert rows(read(mat.read_stmnist, ef.mat(spiketrain=train), (10, 10))) == expected


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8, np.int16, np.uint32, np.int64, np.uint64, bool])
def test_matlab_matrices_are_what_scipy_wrote(compressed, dtype):
    from scipy.io import savemat

    value = np.arange(12).reshape(3, 4).astype(dtype)
    file = io.BytesIO()
    savemat(
        file,
        {"a": value, "longer_name_than_eight": value[:1, :1], "text": "abc", "b": {"c": 1}},
        do_compression=compressed,
    )
    found = mat.variables(np.frombuffer(file.getvalue(), np.uint8), NAME)
    np.testing.assert_array_equal(found["a"], value)
    np.testing.assert_array_equal(found["longer_name_than_eight"], value[:1, :1])
    assert found["text"] is None
    assert found["b"] is None


def test_matlab_7_3_and_others_say_what_they_are():
    with pytest.raises(FormatError, match=r"a MATLAB 7.3 file \(HDF5\) \(save it with -v7\)"):
        read(mat.read_asldvs, b"MATLAB 7.3 MAT-file" + bytes(200))
    with pytest.raises(FormatError, match="no MATLAB file of level 5"):
        read(mat.read_asldvs, bytes(200))
    with pytest.raises(FormatError, match="no numeric variable pol; found ts, x, y"):
        read(mat.read_asldvs, ef.mat(ts=T, x=X, y=Y))


# --- text


@pytest.mark.parametrize(
    "written",
    [
        "".join(f"{t},{x},{y},{p}\n" for t, x, y, p in EVENTS),
        "".join(f"{t}\t{x}  {y} {p}\r\n" for t, x, y, p in EVENTS),
        "t,x,y,p\n" + "".join(f"{t}, {x}, {y}, {p}\n" for t, x, y, p in EVENTS),
        "# made by hand\n\nx y polarity timestamp extra\n" + "".join(f"{x} {y} {p} {t} 7\n" for t, x, y, p in EVENTS),
        "\ufeff" + "".join(f"{t} {x} {y} {-1 if p == 0 else 1}\n" for t, x, y, p in EVENTS),
        "".join(f"{t / 1e6:.6f} {x} {y} {p}\n" for t, x, y, p in EVENTS),
    ],
    ids=["commas", "tabs and CRLF", "names", "another order", "BOM and -1", "seconds"],
)
def test_text_in_the_shapes_of_the_wild(written):
    assert rows(read(text.read, written.encode())) == EVENTS


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("1 2 3", "expected 4 numbers, got '1 2 3'"),
        ("1 2 3 1 5", "expected 4 numbers"),
        ("1 2 x 1", "expected t x y p in whole numbers"),
        ("1 2.5 3 1", "expected t x y p in whole numbers"),
        ("1e99 2 3 1", "expected t x y p in whole numbers"),
        (f"{2**62} 2 3 1", r"a number beyond 2\^62"),
    ],
)
def test_wrong_line_of_text_is_named(line, says):
    with pytest.raises(FormatError, match=f"^{NAME}:3: {says}"):
        read(text.read, f"0 1 2 1\n\n{line}\n".encode())


def test_names_without_one_of_the_columns_are_an_error():
    with pytest.raises(FormatError, match=f"^{NAME}:1: no column p in 't x y w'"):
        read(text.read, b"t x y w\n1 2 3 1\n")
    with pytest.raises(FormatError, match="more than one column t in 't time x y p'"):
        read(text.read, b"t time x y p\n")


@settings(deadline=None, max_examples=200)
@given(st.one_of(st.binary(max_size=100), st.text("0123456789 ,.-\ntxyp#e", max_size=80).map(str.encode)))
def test_random_text_is_events_or_an_error(data):
    try:
        found = rows(read(text.read, data))
    except FormatError as error:
        assert error.message.startswith(f"{NAME}:")  # noqa: PT017 - both outcomes are right
    else:
        assert all(x < 12 and y < 10 and p < 2 and t >= 0 for t, x, y, p in found)
