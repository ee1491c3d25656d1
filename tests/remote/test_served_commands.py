"""`dvsprep info`, `dvsprep play` and `dvsprep card` take the address of a served cache like a path."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import serving

from dvsprep import cache, cli, remote
from dvsprep.errors import FetchError, IntegrityError, NotFoundError


@pytest.mark.parametrize("kind", ["sample/frames", "sample/events", "made/frames", "made/events"])
def test_what_is_told_of_it_is_what_is_told_of_the_file(service: str, root: Path, kind: str) -> None:
    file = next((root / kind).glob("*.train.h5"))
    address = f"{service}/v1/caches/{kind.partition('/')[0]}.{file.stem}"
    told = remote.describe(remote.open_url(address, mirror=False))
    assert told == cache.describe(cache.open_cache(file)) | {"path": address}


def test_info_of_an_address(
    service: str, frames_id: str, frames: cache.FrameCache, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"{service}/v1/caches/{frames_id}"
    assert cli.main(["info", str(frames.path), "--check"]) == 0
    local = capsys.readouterr().out
    assert cli.main(["info", address, "--check"]) == 0
    assert capsys.readouterr().out == local
    assert "all samples intact" in local
    assert cli.main(["info", f"{service}/v1/caches/nothing"]) == NotFoundError.exit_code
    assert "no cache is named 'nothing'" in capsys.readouterr().err


def test_what_is_damaged_there_is_named(
    tmp_path: Path, frames: cache.FrameCache, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = Path(shutil.copy(frames.path, tmp_path / "damaged.h5"))
    with damaged.open("r+b") as file:
        file.seek(int(cache.placement(frames, "frames").offsets[5]) + 40)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    with serving.running(tmp_path) as base:
        assert cli.main(["info", f"{base}/v1/caches/damaged", "--check", "--json"]) == IntegrityError.exit_code
    said = capsys.readouterr()
    assert json.loads(said.out)["damaged"] == [str(frames.ids[5])]
    assert "1 damaged sample(s)" in said.err


@pytest.mark.parametrize("kind", ["frames", "events"])
def test_an_address_plays_the_same_pictures(
    service: str, root: Path, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = next((root / "sample" / kind).glob("*.train.h5"))
    made = []
    for where in (str(file), f"{service}/v1/caches/sample.{file.stem}"):
        out = tmp_path / f"{len(made)}.gif"
        assert cli.main(["play", where, "--sample", "3", "-T", "4", "-o", str(out)]) == 0
        made.append((out.read_bytes(), capsys.readouterr().err))
    assert made[0] == made[1]


@pytest.mark.parametrize("kind", ["sample/frames", "sample/events", "made/frames"])
def test_the_card_of_an_address_is_the_card_of_the_file(
    service: str, root: Path, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dvsprep.show.card.MOST", 20)  # which are not all of the sample's
    file = next((root / kind).glob("*.train.h5"))
    made = []
    for where in (str(file), f"{service}/v1/caches/{kind.partition('/')[0]}.{file.stem}"):
        out = tmp_path / f"{len(made)}.html"
        assert cli.main(["card", where, "-T", "4", "-o", str(out)]) == 0
        made.append(out.read_bytes())
    assert made[0] == made[1]
    assert str(file.name).encode() not in made[0]


def test_a_card_that_cannot_be_had_is_told_in_a_line(
    root: Path, frames_id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("correct-horse-battery-staple")
    out = tmp_path / "card.png"
    netrc = tmp_path / "netrc"
    monkeypatch.setenv("NETRC", str(netrc))
    with serving.running(root, token_file=str(tmp_path / "token")) as base:
        for target, said in ((frames_id, "netrc"), ("nothing", "no cache is named 'nothing'")):
            assert cli.main(["card", f"{base}/v1/caches/{target}", "-o", str(out)]) in (2, 3)
            (line,) = capsys.readouterr().err.splitlines()
            assert said in line
            assert not out.exists()
            netrc.write_text("machine 127.0.0.1 login x password correct-horse-battery-staple\n")
            netrc.chmod(0o600)
        assert cli.main(["card", f"{base}/v1/caches/{frames_id}", "-o", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")


def test_who_does_not_answer_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dvsprep.remote.link.AT_FIRST", 0.2)
    for command in (["info"], ["play", "-o", "x.gif"], ["card", "-o", "x.png"]):
        assert cli.main([*command, "http://127.0.0.1:9/v1/caches/x"]) == FetchError.exit_code
        assert "is `dvsprep serve` running there?" in capsys.readouterr().err
