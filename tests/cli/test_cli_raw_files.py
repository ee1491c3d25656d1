"""`dvsprep fetch`, `verify` and `adopt`: from nothing to verified files. (Networks: see tests/raw.)"""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import archives
import pytest

from dvsprep import datasets

MD5 = "8a5c71fb11e24e5ca5b11866ca6c00a1"  # of the published DvsGesture.tar.gz
FRAMES = ["--split-by", "number", "-T", "4"]


@pytest.fixture
def sample_archive(tmp_path):
    """The sample's archive as a person would have it: anywhere."""
    (resource,) = datasets.get("sample").archives
    path = tmp_path / "Downloads" / resource.name
    path.parent.mkdir()
    path.write_bytes(Path(url2pathname(urlsplit(resource.urls[0]).path)).read_bytes())
    return path


def test_fetch_prints_the_paths(run, tmp_path):
    done = run("fetch", "sample", "--root", tmp_path)
    assert done.code == 0
    assert done.lines == [str(tmp_path / "sample" / "download" / "DvsGesture.tar.gz")]
    assert run("fetch", "sample", "--root", tmp_path, "--json").json == {"dataset": "sample", "files": done.lines}


@pytest.mark.parametrize("command", [["fetch", "dvs128"], ["frames", "dvs128", *FRAMES]], ids=lambda c: c[0])
def test_files_for_a_browser_are_told_in_words_to_follow(run, tmp_path, command):
    root = tmp_path / "my root"
    done = run(*command, "--root", root)
    assert (done.code, done.out) == (3, "")
    assert f"DvsGesture.tar.gz (MD5 {MD5})" in done.err
    assert "open      https://ibm.ent.box.com/" in done.err
    assert f"put into  {root / 'dvs128' / 'download'}\n" in done.err
    assert f"then run  dvsprep verify dvs128 --root {shlex.quote(str(root))}\n" in done.err
    assert f"dvsprep adopt dvs128 --root {shlex.quote(str(root))} PATH/TO/DvsGesture.tar.gz" in done.err
    error = run(*command, "--root", root, "--json").json["error"]
    assert error["exit_code"] == 3


def test_the_told_command_can_be_run_and_tells_the_next(run, tmp_path, sample_archive):
    done = run("adopt", "sample", "--root", tmp_path, sample_archive)
    assert done.code == 0
    assert done.lines == [str(tmp_path / "sample" / "download" / "DvsGesture.tar.gz")]
    (line,) = done.talk
    told = shlex.split(line.removeprefix("next, for example: dvsprep "))
    done = run(*told)
    assert done.code == 0
    assert len(done.lines) == 2


def test_verify_says_ok(run, built):
    done = run("verify", "sample", "--root", built.root)
    assert done.code == 0
    assert done.lines[0].split() == ["ok", "DvsGesture.tar.gz"]
    result = run("verify", "sample", "--root", built.root, "--json").json
    (resource,) = datasets.get("sample").archives
    assert result["files"] == [
        {"name": resource.name, "state": "ok", "why": "", "md5": resource.md5, "optional": False}
    ]


def test_verify_says_missing_and_which_files_nobody_needs(run, tmp_path):
    done = run("verify", "dvs128", "--root", tmp_path)
    assert done.code == 3
    assert "DvsGesture.tar.gz (`dvsprep fetch dvs128`" in done.error
    assert done.lines[0].split()[:2] == ["missing", "DvsGesture.tar.gz"]
    assert [line.endswith("(optional: no command needs it)") for line in done.lines] == [False, True, True, True]


def test_verify_says_wrong_and_changes_nothing(run, tmp_path):
    path = archives.put(tmp_path)
    done = run("verify", "dvs128", "--root", tmp_path, "--json")
    got = hashlib.md5(path.read_bytes()).hexdigest()
    assert done.code == 5
    assert done.json["files"][0]["why"] == f"MD5: expected {MD5}, got {got}"
    assert done.json["error"]["exit_code"] == 5  # one object: what was found, and the error
    assert path.exists()


def test_a_wrong_file_in_download_is_set_aside_and_the_next_run_tells(run, tmp_path):
    path = archives.put(tmp_path)
    got = hashlib.md5(path.read_bytes()).hexdigest()
    done = run("frames", "dvs128", *FRAMES, "--root", tmp_path)
    assert done.code == 5
    assert f"expected {MD5}, got {got}" in done.error
    assert "set aside as DvsGesture.tar.gz.bad" in done.error
    bad = path.with_name("DvsGesture.tar.gz.bad")
    assert bad.exists()
    assert not path.exists()

    done = run("frames", "dvs128", *FRAMES, "--root", tmp_path)
    assert done.code == 3
    assert "DvsGesture.tar.gz.bad lies in that folder" in done.err
    assert "rename it back and pass --no-verify" in done.err
    bad.rename(path)
    assert run("frames", "dvs128", *FRAMES, "--root", tmp_path, "--no-verify").code == 0


def test_adopt_leaves_a_wrong_file_where_it_is(run, tmp_path):
    path = archives.put(tmp_path / "elsewhere")
    done = run("adopt", "dvs128", path, "--root", tmp_path)
    assert done.code == 5
    assert MD5 in done.error
    assert "left where it is" in done.error
    assert path.exists()
    assert not (tmp_path / "dvs128" / "download" / path.name).exists()


def test_no_verify_is_warned_of_recorded_and_shown(run, tmp_path):
    path = archives.put(tmp_path / "elsewhere")
    done = run("adopt", "dvs128", path, "--root", tmp_path, "--no-verify")
    assert done.code == 0
    assert "is adopted without verification" in done.talk[0]
    assert done.talk[1].endswith("--no-verify")  # the next command needs it too
    assert run("frames", "dvs128", *FRAMES, "--root", tmp_path).code == 5
    done = run("frames", "dvs128", *FRAMES, "--root", tmp_path, "--no-verify")
    assert done.code == 0
    info = run("info", done.lines[0])
    assert "NOT VERIFIED" in info.out
    assert run("info", done.lines[0], "--json").json["unverified"] == ["DvsGesture.tar.gz"]


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (lambda p: None, 3, "does not exist"),
        (lambda p: p.mkdir(), 2, "is a folder"),
        (lambda p: p.write_text("notes"), 2, "none of the files expected: DvsGesture.tar.gz"),
    ],
    ids=["missing", "folder", "foreign"],
)
def test_adopt_of_what_is_no_archive(run, tmp_path, make, code, words):
    path = tmp_path / "notes.txt"
    make(path)
    done = run("adopt", "dvs128", path, "--root", tmp_path / "root", "--json")
    assert done.code == code
    assert words in done.error
    assert str(path) in done.json["error"]["message"]
