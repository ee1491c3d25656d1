"""`dvsprep frames --plugin`: a stranger's function, in worker processes."""

from __future__ import annotations

import numpy as np
import pytest

import dvsprep

SOURCE = """
import numpy as np

def ones(events, H, W, n=2):
    return np.full((n, 2, H, W), 1, np.uint8)

def loud(events, H, W):
    print("talk of a plugin")
    return ones(events, H, W)

def raises(events, H, W):
    raise ValueError("first line\\nsecond line")

def leaves(events, H, W):
    raise SystemExit(0)

def dies(events, H, W):
    import os
    os._exit(1)

def small(events, H, W):
    return np.zeros((2, 2, 3, 3), np.uint8)

def nothing(events, H, W):
    pass

not_a_function = 3
"""


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "my_plugin.py"
    path.write_text(SOURCE)
    return path


@pytest.fixture
def frames(run, built):
    """Run ``frames sample --plugin ...`` on the events that are there."""
    return lambda *arguments: run("frames", "sample", "--root", built.root, "--jobs", "1", "--plugin", *arguments)


def test_parameters_are_json_or_text_and_stand_in_the_spec(frames, plugin):
    done = frames(f"{plugin}:ones", "--param", "n=3")
    assert done.code == 0
    cache = dvsprep.open(done.lines[0])
    assert cache.spec.to_dict() == {"split_by": "plugin", "plugin": f"{plugin}:ones", "params": {"n": 3}}
    assert np.array_equal(cache[0][0], np.ones((3, 2, 128, 128)))
    assert "TypeError: 'str' object" in frames(f"{plugin}:ones", "--param", "n=three").error


@pytest.mark.parametrize("json", [[], ["--json"]], ids=["paths", "json"])
def test_what_a_plugin_prints_goes_to_stderr(frames, plugin, json):
    plugin.write_text("print('talk at import')\n" + SOURCE + f"# {json}")  # another content: a cache of its own
    done = frames(f"{plugin}:loud", *json)
    assert done.code == 0
    assert "talk of a plugin" in done.err
    assert "talk at import" in done.err
    paths = list(done.json["caches"].values()) if json else done.lines
    assert [len(dvsprep.open(path)) for path in paths] == [72, 24]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("raises", "on sample user01_fluorescent_row01: ValueError: first line second line"),
        ("leaves", "on sample user01_fluorescent_row01: SystemExit: 0"),
        ("small", "returned shape [2, 2, 3, 3], expected [T, C, 128, 128]"),
        ("nothing", "returned NoneType, expected an array"),
        ("not_a_function", "a int, not a function"),
        ("absent", "has no 'absent'"),
    ],
)
def test_a_plugin_that_fails_is_exit_2_and_named(frames, plugin, function, words):
    done = frames(f"{plugin}:{function}")
    assert (done.code, done.out) == (2, "")
    assert f"plugin {plugin}:{function}" in done.error
    assert words in done.error


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("def f(:", "SyntaxError: "),
        ("raise SystemExit(4)", "SystemExit: 4"),
    ],
    ids=["import", "syntax", "exit"],
)
def test_a_plugin_file_that_does_not_import_is_exit_2(frames, plugin, source, words):
    plugin.write_text(source)
    done = frames(f"{plugin}:f")
    assert done.code == 2
    assert "importing it fails" in done.error
    assert words in done.error


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("nowhere.py:f", "plugin file nowhere.py is not there"),
        ("nowhere_at_all:f", "No module named 'nowhere_at_all'"),
        ("no_entry_point", "a function is named module:function or path/to/file.py:function"),
        (":f", "importing it fails"),
    ],
)
def test_a_plugin_that_is_not_there_is_exit_2(frames, reference, words):
    done = frames(reference)
    assert done.code == 2
    assert words in done.error


def test_a_worker_that_dies_is_exit_8(frames, plugin):
    done = frames(f"{plugin}:dies")
    assert done.code == 8
    assert "a worker process ended before its work was done" in done.error
