"""`dvsprep pull` makes of a served cache the file that it is."""

from __future__ import annotations

import json
from pathlib import Path

import making
import pytest
import requests
import serving
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dvsprep import cache, cli, remote
from dvsprep.errors import FetchError, HashMismatchError, IntegrityError, NotFoundError, UsageError
from dvsprep.pipeline import Job
from dvsprep.types import FrameSpec


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return tmp_path / "own"


def test_the_file_comes_to_where_frames_would_put_it(
    service: str, frames_id: str, frames: cache.FrameCache, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"{service}/v1/caches/{frames_id}"
    assert cli.main(["pull", address, "--root", str(own)]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path.read_bytes() == frames.path.read_bytes()
    assert path == Job("sample", own, FrameSpec("number", T=4)).frames_paths()["train"]
    assert [p for p in own.rglob("*") if p.is_file() and p.suffix != ".lock"] == [path]
    assert making.leftovers(own) == []
    before = path.stat().st_mtime_ns
    assert cli.main(["pull", address, "--root", str(own), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"cache": str(path)}
    assert path.stat().st_mtime_ns == before


def test_a_download_goes_on_where_it_stopped(
    service: str, frames_id: str, frames: cache.FrameCache, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dvsprep.serve import files

    address, asked = f"{service}/v1/caches/{frames_id}", []
    blocks = files._blocks

    async def cut(content, start, length):
        asked.append(start)
        async for block in blocks(content, start, min(length, 20_000) if len(asked) == 1 else length):
            yield block

    monkeypatch.setattr(files, "_blocks", cut)
    path = remote.pull(address, root=own)
    assert path.read_bytes() == frames.path.read_bytes()
    assert asked == [0, 20_000]


def test_another_file_of_that_name_stays(
    service: str, frames_id: str, frames: cache.FrameCache, tmp_path: Path
) -> None:
    address, out = f"{service}/v1/caches/{frames_id}", tmp_path / "mine.h5"
    out.write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        remote.pull(address, out=out)
    assert out.read_text() == "mine"
    assert remote.pull(address, out=out, replace=True) == out
    assert making.digests(cache.FrameCache(out)) == making.digests(frames)
    (tmp_path / "folder").mkdir()
    assert remote.pull(address, out=tmp_path / "folder") == tmp_path / "folder" / frames.path.name


def test_who_is_not_there_is_told(service: str, own: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert cli.main(["pull", f"{service}/v1/caches/nothing", "--root", str(own)]) == NotFoundError.exit_code
    assert "no cache is named 'nothing'" in capsys.readouterr().err
    monkeypatch.setattr("dvsprep.remote.link.PATIENCE", 0.2)
    assert cli.main(["pull", "http://127.0.0.1:9/v1/caches/x", "--root", str(own)]) == FetchError.exit_code
    assert cli.main(["pull", "nonsense", "--root", str(own)]) == UsageError.exit_code
    assert not own.exists()


@pytest.mark.parametrize(
    "lie",
    [{"dataset": "../../x"}, {"dataset": ".."}, {"file": "../x.h5"}, {"file": "/etc/x.h5"}, {"file": "x.py"},
     {"kind": "../frames"}, {"file": ".hidden.h5"}, {"key": "other"}, {"sha256": "0" * 64}, {"bytes": 7}],
)  # fmt: skip
def test_a_lying_service_writes_nothing(service: str, frames_id: str, own: Path, lie: dict[str, object]) -> None:
    address = f"{service}/v1/caches/{frames_id}"
    facts = requests.get(address, timeout=30).json() | lie
    digest = requests.get(f"{address}/digest", timeout=30).json() | lie
    whole = requests.get(f"{address}/file", timeout=30).content
    liar = Starlette(
        routes=[
            Route("/v1/caches/x", lambda _: JSONResponse(facts)),
            Route("/v1/caches/x/digest", lambda _: JSONResponse(digest)),
            Route("/v1/caches/x/file", lambda _: Response(whole)),
        ]
    )
    with serving.serving(liar) as base, pytest.raises((IntegrityError, HashMismatchError, FetchError)):
        remote.pull(f"{base}/v1/caches/x", root=own)
    assert [
        p for p in own.parent.rglob("*") if p.is_file() and not p.name.startswith(".") and ".pull" not in str(p)
    ] == []
