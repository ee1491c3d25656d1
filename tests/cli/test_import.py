"""`dvsprep import` as a user types it, and what the other commands then do with the name."""

from pathlib import Path

import own
import pytest


@pytest.fixture
def recordings(tmp_path) -> Path:
    return own.folders(tmp_path / "rec", "wave/1.txt", "wave/2.txt", "clap/1.txt", "clap/2.txt")


def test_an_imported_name_works_with_every_command(run, recordings, tmp_path):
    done = run("import", "mine", recordings, "--sensor", own.SENSOR, "-j", 1)
    assert done.code == 0
    (path,) = done.lines
    assert "4 sample(s) of 2 class(es): clap, wave" in done.err
    assert run("events", "mine").lines == [path]
    assert "source       4 imported recording(s)" in run("info", path, "--check").lines
    assert run("play", path, "--sample", 1, "-o", tmp_path / "a.png").code == 0
    assert run("export", path, "-o", tmp_path / "npz", "--format", "npz").code == 0
    assert len(list((tmp_path / "npz").rglob("*.npz"))) == 4
    frames = run("frames", "mine", "--split-by", "number", "-T", 2, "--split", 0.5, "-j", 1, "--json")
    assert frames.json["samples"] == {"train": 2, "test": 2}
    for command in ("fetch", "verify"):
        assert run(command, "mine").code == 0


def test_json_tells_what_was_made_and_the_second_time_nothing_is(run, recordings):
    arguments = ("import", "mine", recordings, "--sensor", own.SENSOR, "--json", "-j", 1)
    first, second = run(*arguments).json, run(*arguments).json
    assert Path(first["cache"]).is_file()
    assert first | {"new": False} == second
    assert (first["samples"], first["classes"], first["sensor"]) == (4, ["clap", "wave"], [own.H, own.W])


def test_what_a_folder_holds_besides_is_said(run, recordings):
    (recordings / "notes.md").write_text("hello")
    (recordings / ".DS_Store").write_bytes(b"x")
    done = run("import", "mine", recordings, "--sensor", own.SENSOR, "-j", 1)
    skipped = [line for line in done.err.splitlines() if line.startswith("skipped: ")]
    assert skipped[0] == f"skipped: {recordings / '.DS_Store'}: a hidden file"
    assert skipped[1].startswith(f"skipped: {recordings / 'notes.md'}: an unknown format")
    assert len(skipped) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["sample", "rec", "--sensor", own.SENSOR], 2, "sample is a known dataset's name (choose another one)"),
        (["a/b", "rec", "--sensor", own.SENSOR], 2, "'a/b' is no name for a dataset"),
        (["mine", "rec"], 2, "does not state its sensor size (give it with --sensor HxW)"),
        (["mine", "rec", "--sensor", "24"], 2, "expected HEIGHTxWIDTH"),
        (["mine", "rec", "--sensor", "0x24"], 2, "expected HEIGHTxWIDTH"),
        (["mine"], 2, "Missing argument"),
        (["mine", "rec", "--labels", "l.csv", "--class-from", "parent"], 2, "--labels and --class-from both"),
        (["mine", "rec", "--sensor", own.SENSOR, "--labels", "l.csv"], 3, "l.csv: no such label file"),
        (["mine", "rec", "--sensor", own.SENSOR, "--labels", "bad.csv"], 5, "bad.csv:2: no recording is named 'z.txt'"),
        (["mine", "rec", "--sensor", own.SENSOR, "--class-from", "("], 2, "no regular expression"),
        (["mine", "rec", "--sensor", own.SENSOR, "--class-from", "(z)"], 5, "finds no class in 'clap/1.txt'"),
        (["mine", "nowhere"], 3, "nowhere: no such file or folder"),
        (["mine", "bad.csv"], 5, "bad.csv: an unknown format"),
        (["mine", "rec", "--sensor", "4x4"], 5, "outside the sensor"),
        (["mine", "rec", "--sensor", own.SENSOR, "--codec", "zip"], 2, "codec"),
    ],
)
def test_a_mistake_is_one_line_and_its_exit_code(run, recordings, monkeypatch, arguments, code, why):
    monkeypatch.chdir(recordings.parent)
    Path("bad.csv").write_text("class,file\nx,z.txt\n")
    done = run("import", *arguments, "-j", 1)
    assert why in done.error
    assert (done.code, done.out) == (code, "")


def test_other_recordings_under_the_same_name_are_refused(run, recordings):
    assert run("import", "mine", recordings, "--sensor", own.SENSOR, "-j", 1).code == 0
    done = run("import", "mine", recordings / "wave", "--sensor", own.SENSOR, "-j", 1)
    assert done.code == 2
    assert "choose another name, or delete the folder" in done.error


def test_a_name_that_nobody_imported_is_not_found(run):
    done = run("frames", "mine", "--split-by", "number", "-T", 2)
    assert done.code == 3
    assert "no dataset is named 'mine'" in done.error


def test_an_imported_set_travels_in_a_bundle(run, recordings, tmp_path):
    run("import", "mine", recordings, "--sensor", own.SENSOR, "-j", 1)
    run("bundle", "mine", "--what", "caches", "-o", tmp_path / "mine.tar")
    there = ("--root", tmp_path / "elsewhere")
    assert run("unbundle", tmp_path / "mine.tar", *there).code == 0
    frames = run("frames", "mine", "--split-by", "number", "-T", 2, "-j", 1, "--json", *there)
    assert (frames.code, frames.json["samples"]) == (0, {"all": 4})
