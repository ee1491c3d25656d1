"""A user's integrator: how it is named, what tells it from another, and what goes wrong in words."""

import os
import shutil
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from dvsprep.errors import PluginError
from dvsprep.integrate import identity, integrate
from dvsprep.types import FrameSpec

H, W = 200, 300
EVENTS = {"t": np.array([5, 9, 9]), "x": np.array([0, 299, 1]), "y": np.array([0, 199, 1]), "p": np.array([0, 1, 1])}
SOURCE = """
    import numpy as np

    SCALE = 1

    def count(events, H, W, T=2):
        flat = (events["p"] * H + events["y"]) * W + events["x"]
        frame = np.bincount(flat, minlength=2 * H * W).reshape(1, 2, H, W)
        return np.repeat(SCALE * frame, T, axis=0)
"""


def run(reference: str, **params):
    return integrate(EVENTS, FrameSpec("plugin", plugin=str(reference), params=params), H, W, sample="user01_row03")


@pytest.fixture
def write(tmp_path):
    def write(source: str, name: str = "my plugin.py") -> Path:
        path = tmp_path / "a folder" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(source))
        return path

    return write


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Lay a package with entry points on sys.path, as `pip install` would (the fixture of zarr-python's tests)."""

    def install(source: str, entry_points: str) -> None:
        (tmp_path / "plugged_in.py").write_text(textwrap.dedent(source))
        info = tmp_path / "plugged_in-0.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged_in\nVersion: 0.1\n")
        (info / "entry_points.txt").write_text(textwrap.dedent(entry_points))

    monkeypatch.syspath_prepend(str(tmp_path))
    yield install
    sys.modules.pop("plugged_in", None)


ENTRY = """
    [dvsprep.integrators]
    mine = plugged_in:count
    broken = plugged_in_nowhere:count
"""


def check_counts(frames, T):
    assert frames.shape == (T, 2, H, W)
    for frame in frames:
        assert np.argwhere(frame).tolist() == [[0, 0, 0], [1, 1, 1], [1, 199, 299]]


def test_function_of_a_file_whose_path_has_spaces(write):
    check_counts(run(f"{write(SOURCE)}:count"), T=2)


def test_function_of_a_module(installed):
    installed(SOURCE, "")
    check_counts(run("plugged_in:count"), T=2)


def test_entry_point(installed):
    installed(SOURCE, ENTRY)
    check_counts(run("mine"), T=2)


def test_parameters_reach_the_function(write):
    check_counts(run(f"{write(SOURCE)}:count", T=5), T=5)


def test_events_come_as_int64_so_that_an_index_does_not_wrap(write):
    # 199 * 300 + 299 needs 16 bits, (199 + 200) * 300 needs 17: in the compact columns both would wrap unseen.
    path = write("""
        import numpy as np

        def types(events, H, W):
            assert {str(events[k].dtype) for k in "txyp"} == {"int64"}
            return np.full((1, 1, H, W), (events["y"] * W + events["x"]).max())
    """)
    assert run(f"{path}:types").max() == 59999


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float16", "float32", "float64"])
def test_functions_own_type_and_channels_are_kept(write, dtype):
    path = write(f"import numpy as np\ndef f(events, H, W): return np.full((3, 5, H, W), 2, '{dtype}')\n")
    frames = run(f"{path}:f")
    assert frames.dtype == np.dtype(dtype)
    assert frames.shape == (3, 5, H, W)
    assert (frames == 2).all()


def test_truth_values_become_uint8_and_strided_arrays_whole(write):
    path = write("import numpy as np\ndef f(events, H, W): return np.ones((W, H, 2, 1), bool).T\n")
    frames = run(f"{path}:f")
    assert frames.dtype == np.uint8
    assert frames.shape == (1, 2, H, W)
    assert frames.flags.c_contiguous


def test_function_may_declare_another_frame_size(write):
    path = write("import numpy as np\ndef f(events, H, W): return np.zeros((1, 2, 10, 12))\nf.out_hw = (10, 12)\n")
    assert run(f"{path}:f").shape == (1, 2, 10, 12)


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("nowhere.py:count", "plugin file nowhere.py is not there"),
        ("no_such_module_of_ours:count", "ModuleNotFoundError: No module named 'no_such_module_of_ours'"),
        ("json:no_such_function", "json has no 'no_such_function'"),
        ("json.decoder:FLAGS", "not a function f"),
        ("no_such_entry", "no integrator is named 'no_such_entry'"),
        (":count", "importing it fails"),
        ("json:", "json has no ''"),
    ],
)
def test_what_cannot_be_found_says_so(reference, says):
    with pytest.raises(PluginError, match=says):
        run(reference)


def test_unknown_name_lists_the_installed_ones(installed):
    installed(SOURCE, ENTRY)
    with pytest.raises(PluginError, match=r"entry points of dvsprep.integrators: .*mine.*named module:function"):
        run("mien")


def test_entry_point_that_does_not_import_shows_the_cause(installed):
    installed(SOURCE, ENTRY)
    with pytest.raises(PluginError, match="ModuleNotFoundError: No module named 'plugged_in_nowhere'"):
        run("broken")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import no_such_module_of_ours", "ModuleNotFoundError: No module named 'no_such_module_of_ours'"),
        ("def f(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_file_that_does_not_import_shows_the_cause_each_time(write, source, says):
    path = write(source)
    for _ in range(2):  # a half-imported module must not be served the second time
        with pytest.raises(PluginError, match=says) as caught:
            run(f"{path}:f")
        assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("raise KeyError('gone')", "user01_row03: KeyError: 'gone'"),
        ("return None", "user01_row03: returned NoneType, expected an array"),
        ("return [[1]]", "returned list"),
        ("return np.zeros((2, H, W))", r"returned shape \[2, 200, 300\], expected \[T, C, 200, 300\]"),
        ("return np.zeros((1, 2, W, H))", r"returned shape \[1, 2, 300, 200\].*out_hw"),
        ("return np.zeros((1, 0, H, W))", r"returned shape \[1, 0, 200, 300\]"),
        ("return np.zeros((1, 2, H, W), complex)", "returned type complex128, expected numbers"),
        ("return np.zeros((1, 2, H, W), object)", "returned type object"),
        ("return np.zeros((1, 2, H, W), 'U3')", "returned type <U3"),
    ],
)
def test_function_that_fails_names_itself_the_sample_and_the_cause(write, body, says):
    path = write(f"import numpy as np\ndef f(events, H, W):\n    {body}\n")
    with pytest.raises(PluginError, match=says) as caught:
        run(f"{path}:f")
    assert "my plugin.py:f on sample" in str(caught.value)


def test_wrong_parameter_names_it(write):
    with pytest.raises(PluginError, match=r"TypeError: count\(\) got an unexpected keyword argument 'frames'"):
        run(f"{write(SOURCE)}:count", frames=3)


def identify(reference: str, **params):
    return identity(FrameSpec("plugin", plugin=str(reference), params=params))


def test_identity_follows_the_source_not_the_path(write, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)  # as in a user's shell
    path = write(SOURCE)
    os.utime(path, (10**9, 10**9))
    before = identify(f"{path}:count")
    elsewhere = tmp_path / "renamed.py"
    shutil.copy(path, elsewhere)
    assert identify(f"{elsewhere}:count") == before
    path.write_text(path.read_text().replace("SCALE = 1", "SCALE = 3"))  # beside the function, not in it
    os.utime(path, (10**9, 10**9))  # in the same second and of the same size: Python would take its old bytecode
    assert identify(f"{path}:count") != before
    assert run(f"{path}:count").max() == 3, "the changed file is loaded, not the one imported before"
    assert run(f"{elsewhere}:count").max() == 1


def test_identity_tells_functions_and_parameters_apart(write):
    path = write(textwrap.dedent(SOURCE) + "\ncopy = count\n")
    known = [identify(f"{path}:count"), identify(f"{path}:copy"), identify(f"{path}:count", T=3)]
    assert all(a != b for i, a in enumerate(known) for b in known[:i])


def test_identity_is_the_same_by_file_module_and_entry_point(installed, write):
    installed(SOURCE, ENTRY)
    assert identify("plugged_in:count") == identify(f"{write(SOURCE)}:count")
    assert identify("mine")["sha256"] == identify("plugged_in:count")["sha256"]


@pytest.mark.parametrize("decorator", ["functools.lru_cache", "plugged_in.log"])
def test_identity_sees_a_change_behind_a_decorator_of_another_file(installed, write, decorator):
    installed("def log(function):\n    return lambda *args, **kw: function(*args, **kw)\n", "")
    source = f"import functools, plugged_in\n\n@{decorator}\ndef f(events, H, W): return 1\n"
    path = write(source)
    before = identify(f"{path}:f")
    path.write_text(source.replace("return 1", "return 2"))
    assert identify(f"{path}:f") != before


def test_function_without_a_source_needs_a_version(write):
    path = write("""
        import functools
        import numpy as np

        def fill(events, H, W, value):
            return np.full((1, 1, H, W), value)

        seven = functools.partial(fill, value=7)
        eight = functools.partial(fill, value=8)
        eight.version = "8"
    """)
    with pytest.raises(PluginError, match=r"source is not to be had.*attribute `version`"):
        run(f"{path}:seven")
    assert run(f"{path}:eight").max() == 8
    assert identify(f"{path}:eight")["function"] == "eight"
