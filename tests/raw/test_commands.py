"""`fetch`, `bundle` and `unbundle` as a user types them; the datasets are look-alikes in the official layout."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import sys
import zipfile
from pathlib import Path

import formats
import pytest
from bad_server import file, status

from dvsprep import datasets
from dvsprep.cli import main

CLASSES = datasets.get("cifar10dvs").classes


def archive(name: str, label: int) -> bytes:
    """Return ``<class>.zip`` with three recordings, as the official archives have 1,000."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as pack:
        for i in range(3):
            recording = formats.aedat2(formats.events(400, 128, 128, seed=10 * label + i))
            info = zipfile.ZipInfo(f"{name}/cifar10_{name}_{i}.aedat", (2020, 1, 1, 0, 0, 0))
            pack.writestr(info, recording)
    return out.getvalue()


@pytest.fixture(scope="module")
def archives() -> dict[str, bytes]:
    return {f"{name}.zip": archive(name, label) for label, name in enumerate(CLASSES)}


@pytest.fixture
def mirror(server, archives):
    for name, data in archives.items():
        server.at(f"/{name}", file(data))
    return server


@pytest.fixture
def md5sums(tmp_path, archives) -> Path:
    path = tmp_path / "MD5SUMS"
    path.write_text("".join(f"{hashlib.md5(data).hexdigest()}  {name}\n" for name, data in archives.items()))
    return path


@pytest.fixture
def run(capsys, tmp_path):
    """Run a command line below tmp_path/root; return exit code, stdout and stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        code = main([*map(str, arguments), "--root", str(tmp_path / "root")])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def no_sockets(monkeypatch):
    def refuse(*args, **kwargs):
        opened.append(args)
        raise AssertionError("a socket was opened")

    opened: list[tuple[object, ...]] = []

    def arm():
        monkeypatch.setattr(socket, "socket", refuse)
        monkeypatch.setattr(socket, "create_connection", refuse)

    yield arm
    assert opened == []


def test_fetched_from_a_mirror_made_into_frames_and_carried_offline(
    run, mirror, archives, md5sums, tmp_path, monkeypatch, no_sockets
):
    code, out, err = run("fetch", "cifar10dvs", "--mirror", mirror.url + "/", "--md5sums", md5sums)
    assert (code, err) == (0, "")
    download = tmp_path / "root" / "cifar10dvs" / "download"
    assert out.split() == [str(download / name) for name in archives]
    assert {path.name: path.read_bytes() for path in download.glob("*.zip")} == archives
    assert mirror.served == sum(map(len, archives.values()))
    code, out, err = run("fetch", "cifar10dvs", "--offline")
    assert (code, err) == (0, ""), "the MD5s are remembered, and nothing is lacking"
    code, out, err = run("verify", "cifar10dvs")
    assert code == 0, err
    code, out, err = run("adopt", "cifar10dvs", *sorted(download.glob("*.zip")))
    assert code == 0, err

    no_sockets()
    monkeypatch.setenv("DVSPREP_OFFLINE", "1")
    code, out, err = run("frames", "cifar10dvs", "--split-by", "number", "-T", 10, "--no-verify", "--json", "--split",
                         0.67, "--seed", 0)  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["samples"] == {"train": 20, "test": 10}

    assert run("bundle", "cifar10dvs", "-o", tmp_path / "d.tar")[0] == 0
    assert run("bundle", "cifar10dvs", "--what", "caches", "-o", tmp_path / "c.tar")[0] == 0
    home = tmp_path / "root"
    home.rename(tmp_path / "moved")
    for tar in ("d.tar", "c.tar"):
        code, out, err = run("unbundle", tmp_path / tar)
        assert code == 0
        assert [line for line in out.splitlines() if not Path(line).is_file()] == []
        assert err.count("given by --md5sums elsewhere") == len(archives)
    code, out, err = run("frames", "cifar10dvs", "--split-by", "number", "-T", 10, "--no-verify", "--json", "--split",
                         0.67, "--seed", 0)  # fmt: skip
    assert code == 0
    assert {stage["state"] for stage in json.loads(out)["stages"]} == {"done"}, "the caches were recognised"


def test_without_their_md5s_look_alikes_need_no_verify(run, mirror, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["dvsprep.raw.fetch"], "sources", lambda r, d, m: [f"{mirror.url}/{r.name}"])
    code, out, err = run("fetch", "cifar10dvs", "--json")
    assert code == 4
    told = json.loads(out)["error"]
    assert "10 of 10 files could not be fetched: airplane.zip, automobile.zip," in told["message"]
    assert [line.split(": ")[0] for line in told["details"]] == sorted(
        r.name for r in datasets.get("cifar10dvs").archives
    )
    lines = err.splitlines()  # one a source, then the error itself
    assert len(lines) == 11
    assert all(f"{mirror.url}/" in line and ": announces " in line and line.startswith("  ") for line in lines[:-1])
    assert lines[-1].startswith("dvsprep: 10 of 10 files could not be fetched: airplane.zip")
    assert "by hand: from https://figshare.com/" in lines[-1]
    code, _, err = run("fetch", "cifar10dvs", "--no-verify")
    assert code == 0
    assert err.count("is used without verification") == 10


@pytest.mark.parametrize("by", ["--offline", "DVSPREP_OFFLINE"])
def test_offline_fetch_names_what_is_lacking(run, no_sockets, archives, monkeypatch, by):
    no_sockets()
    if by == "DVSPREP_OFFLINE":
        monkeypatch.setenv(by, "anything")
    code, out, err = run("fetch", "cifar10dvs", *([by] if by == "--offline" else []))
    assert (code, out) == (4, "")
    assert [name for name in archives if name not in err] == []
    assert "offline" in err


def test_offline_the_bundled_sample_makes_frames_with_no_socket(run, no_sockets, monkeypatch):
    no_sockets()
    monkeypatch.setenv("DVSPREP_OFFLINE", "1")
    code, out, err = run("frames", "sample", "--split-by", "number", "-T", 4)
    assert code == 0, err
    assert len(out.splitlines()) == 2


def test_sources_prints_a_table_and_fails_if_a_file_has_none(run, mirror, tmp_path, monkeypatch, archives):
    probe = sys.modules["dvsprep.raw.probe"]
    monkeypatch.setattr(probe, "sources", lambda r, d, m: [f"{mirror.url}/dead", f"{mirror.url}/{r.name}"])
    mirror.at("/dead", status(202, x_amzn_waf_action="challenge"))
    code, out, err = run("fetch", "cifar10dvs", "--sources", "--md5sums", "published")
    lines = out.splitlines()
    assert lines[0].split() == ["ok", "file", "status", "bytes", "magic", "seconds", "source"]
    assert lines[1].split()[:5] == ["no", "airplane.zip", "202", "-", "-"]
    assert lines[1].endswith("bot challenge (x-amzn-waf-action: challenge)")
    assert lines[2].split()[:5] == ["no", "airplane.zip", "206", f"{len(archives['airplane.zip']):,}", "yes"]
    assert len(lines) == 21
    assert code == 4
    assert "no source works for airplane.zip" in err

    sums = tmp_path / "sums"
    sums.write_text("".join(f"{'0' * 32}  {name}\n" for name in archives))
    code, out, err = run("fetch", "cifar10dvs", "--sources", "--json", "--md5sums", sums)
    assert (code, err) == (0, ""), "with other MD5s the published length is no measure"
    reports = json.loads(out)["sources"]
    assert [(r["file"], r["ok"]) for r in reports[:2]] == [("airplane.zip", False), ("airplane.zip", True)]
    assert not (tmp_path / "root").exists(), "nothing is kept"


def test_sources_of_a_file_that_only_a_person_gets(run):
    code, _, err = run("fetch", "dvs128", "--sources", "--offline")
    assert code == 0
    assert "DvsGesture.tar.gz: only by hand, from https://" in err


def test_the_budget_and_a_broken_md5sums_file_are_told(run, tmp_path):
    (tmp_path / "sums").write_text("hello")
    assert run("fetch", "cifar10dvs", "--md5sums", tmp_path / "sums")[0] == 2
    assert run("fetch", "cifar10dvs", "--timeout", "0")[0] == 2
    assert run("fetch", "cifar10dvs", "--mirror", "ftp://x")[0] == 2


def test_bundle_and_unbundle_end_with_one_line_and_a_code(run, tmp_path):
    code, _, err = run("bundle", "nmnist", "-o", tmp_path / "x.tar")
    assert code == 3
    assert [line.split(" (")[0] for line in err.splitlines()[:2]] == ["  Train.zip", "  Test.zip"]
    assert err.splitlines()[2:] == [err.splitlines()[-1]]
    assert f"2 files are not in {tmp_path / 'root' / 'nmnist' / 'download'}: Train.zip, Test.zip" in err
    assert run("bundle", "nmnist", "--what", "caches", "-o", tmp_path / "x.tar")[0] == 3
    (tmp_path / "x.tar").write_bytes(b"no tar")
    code, _, err = run("unbundle", tmp_path / "x.tar")
    assert code == 5
    assert "copy the bundle again" in err
    assert run("unbundle", tmp_path / "none.tar")[0] == 3
