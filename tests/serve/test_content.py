"""What the service says of caches and samples is what the files hold."""

from __future__ import annotations

import io
import json
import zlib
from pathlib import Path

import making
import numpy as np
import pytest
import requests

from dvsprep import cache, wire


def npy(answer: requests.Response) -> np.ndarray:
    return np.load(io.BytesIO(answer.content))


def test_the_list_holds_every_cache_and_nothing_else(service: str, root: Path) -> None:
    told = requests.get(f"{service}/v1/caches", timeout=30).json()
    files = [p for p in root.rglob("*.h5") if not any(part.startswith(".") for part in p.relative_to(root).parts)]
    assert len(told["caches"]) == len(files) == 8
    assert told["refused"] == []
    for facts in told["caches"]:
        one = requests.get(f"{service}/v1/caches/{facts['id']}", timeout=30).json()
        assert (one["version"], one["samples"], one["key"]) == (facts["version"], facts["samples"], facts["key"])
        assert str(root) not in json.dumps(one)


def test_facts_are_those_of_info(service: str, frames_id: str, frames: cache.FrameCache) -> None:
    told = requests.get(f"{service}/v1/caches/{frames_id}", timeout=30).json()
    known = cache.describe(frames)
    for key in set(known) - {"path", "columns"}:
        assert told[key] == known[key], key
    assert told["columns"][0]["bytes"] == known["columns"]["frames"]["bytes"]


def test_labels_and_arrays_come_as_json_and_as_npy(service: str, frames_id: str, frames: cache.FrameCache) -> None:
    one = f"{service}/v1/caches/{frames_id}"
    assert requests.get(f"{one}/labels", timeout=30).json()["values"] == frames.labels.tolist()
    assert requests.get(f"{one}/arrays/ids", timeout=30).json()["values"] == frames.ids.tolist()
    labels = npy(requests.get(f"{one}/labels", headers={"Accept": "application/x-npy"}, timeout=30))
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(labels, frames.labels)
    crc32 = npy(requests.get(f"{one}/arrays/crc32?format=npy", timeout=30))
    np.testing.assert_array_equal(crc32, frames.small("crc32"))
    assert requests.get(f"{one}/arrays/frames", timeout=30).status_code == 404


def test_samples_are_found_by_class_page_by_page(service: str, frames_id: str, frames: cache.FrameCache) -> None:
    address = f"{service}/v1/caches/{frames_id}/samples"
    name = frames.classes[7]
    expected = np.flatnonzero(np.isin(frames.labels, [0, 7])).tolist()
    found: list[int] = []
    for offset in range(0, len(expected), 5):
        query = {"class": [name, "0"], "offset": offset, "limit": 5}
        told = requests.get(address, params=query, timeout=30).json()
        assert told["total"] == len(expected)
        found += [sample["index"] for sample in told["samples"]]
    assert found == expected
    assert requests.get(address, params={"split": "test"}, timeout=30).json()["total"] == 0
    assert requests.get(address, params={"split": "train"}, timeout=30).json()["total"] == len(frames)
    first = requests.get(f"{address}/3/facts", timeout=30).json()
    known = cache.describe_sample(frames, 3)
    assert first == {key: known[key] for key in first if key in known} | {"rows": 1}


def test_a_sample_is_its_stored_chunk(service: str, frames_id: str, frames: cache.FrameCache) -> None:
    stored = bytes(frames.block("frames", 5).packed[0].data)
    answer = requests.get(f"{service}/v1/caches/{frames_id}/samples/5", timeout=30, stream=True)
    assert answer.headers["Content-Encoding"] == "deflate"
    assert answer.raw.read(decode_content=False) == stored
    plain = requests.get(f"{service}/v1/caches/{frames_id}/samples/5", timeout=30)  # undone by the client library
    shape = [int(n) for n in plain.headers["X-Dvsprep-Shape"].split(",")]
    values = np.frombuffer(plain.content, plain.headers["X-Dvsprep-Dtype"]).reshape(shape)
    assert making.digest(values, int(plain.headers["X-Dvsprep-Label"])) == making.digest(*frames[5])


@pytest.mark.parametrize("accepted", ["identity", "gzip", "deflate;q=0", "*;q=0"])
def test_who_cannot_undo_deflate_gets_the_bytes_inflated(
    service: str, frames_id: str, frames: cache.FrameCache, accepted: str
) -> None:
    answer = requests.get(
        f"{service}/v1/caches/{frames_id}/samples/5", headers={"Accept-Encoding": accepted}, timeout=30
    )
    assert "Content-Encoding" not in answer.headers
    assert answer.content == frames[5][0].tobytes()


def test_a_wide_chunk_says_that_it_is_shuffled(service: str, root: Path) -> None:
    frames = cache.FrameCache(root / "wide.h5")
    answer = requests.get(f"{service}/v1/caches/wide/samples/0", timeout=30)
    dtype = np.dtype(answer.headers["X-Dvsprep-Dtype"])
    assert dtype.itemsize > 1
    assert answer.headers["X-Dvsprep-Shuffled"] == "1"
    values = np.frombuffer(answer.content, np.uint8).reshape(dtype.itemsize, -1).T.copy().view(dtype)
    np.testing.assert_array_equal(values.reshape(frames[0][0].shape), frames[0][0])


def every_sample(service: str) -> list[tuple[str, int]]:
    caches = requests.get(f"{service}/v1/caches", timeout=30).json()["caches"]
    return [(facts["id"], i) for facts in caches for i in range(min(facts["samples"], 10))]


def path_of(root: Path, id: str) -> Path:
    name, _, stem = id.partition(".")
    return next(p for p in root.rglob("*.h5") if (p.parts[-3], p.stem) == (name, stem) or p.stem == id)


def test_every_sample_comes_as_npy(service: str, root: Path) -> None:
    for id, i in every_sample(service):
        values = npy(requests.get(f"{service}/v1/caches/{id}/samples/{i}?format=npy", timeout=30))
        found, _ = cache.open_cache(path_of(root, id))[i]
        if isinstance(found, dict):
            for name in "txyp":
                np.testing.assert_array_equal(values[name], found[name])
        else:
            np.testing.assert_array_equal(values, found)
            assert values.dtype == found.dtype


def test_a_batch_is_its_samples_in_the_order_asked_for(service: str, root: Path) -> None:
    for facts in requests.get(f"{service}/v1/caches", timeout=30).json()["caches"]:
        address, wanted = f"{service}/v1/caches/{facts['id']}", [1, 0, facts["samples"] - 1, 1]
        source = cache.open_cache(path_of(root, facts["id"]))
        posted = requests.post(f"{address}/batch", json={"samples": wanted}, timeout=30)
        got = requests.get(f"{address}/batch", params={"i": wanted}, timeout=30)
        assert posted.content == got.content
        samples = wire.unpack(posted.content)
        assert [sample.i for sample in samples] == wanted
        columns = [wire.Column.from_dict(c) for c in requests.get(address, timeout=30).json()["columns"]]
        for sample in samples:
            expected = making.digest(*source[sample.i])
            label = int(source.labels[sample.i])
            if source.kind == "frames":
                found = making.digest(wire.frames_of(sample, columns, varies=source.varies), label)
            else:
                events = wire.events_of(sample, columns)
                found = making.digest({k: v.astype(np.int64) for k, v in events.items()}, label)
            assert found == expected


def test_no_samples_are_an_empty_message(service: str, frames_id: str) -> None:
    answer = requests.post(f"{service}/v1/caches/{frames_id}/batch", json={"samples": []}, timeout=30)
    assert wire.unpack(answer.content) == []


def test_what_is_known_is_not_sent_again(service: str, frames_id: str) -> None:
    one = f"{service}/v1/caches/{frames_id}"
    for address in (one, f"{one}/labels", f"{one}/samples/3", f"{one}/samples/3?format=npy", f"{one}/file"):
        first = requests.get(address, timeout=30)
        tag = first.headers["ETag"]
        assert tag.startswith('"')
        again = requests.get(address, headers={"If-None-Match": f'"other", W/{tag}'}, timeout=30)
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
        assert requests.get(address, headers={"If-None-Match": '"other"'}, timeout=30).status_code == 200
        head = requests.head(address, timeout=30)
        assert (head.status_code, head.content, head.headers["ETag"]) == (200, b"", tag)
    tags = {
        requests.get(f"{one}/samples/{i}{q}", timeout=30).headers["ETag"] for i in (1, 2) for q in ("", "?format=npy")
    }
    assert len(tags) == 4
    assert "immutable" in requests.get(f"{one}/samples/3", timeout=30).headers["Cache-Control"]


def test_a_name_that_holds_no_key_is_asked_again(service: str) -> None:
    assert requests.get(f"{service}/v1/caches/wide/samples/0", timeout=30).headers["Cache-Control"] == "no-cache"


def test_a_request_for_another_version_is_refused(service: str, frames_id: str) -> None:
    one = f"{service}/v1/caches/{frames_id}"
    version = requests.get(one, timeout=30).json()["version"]
    right, wrong = {"If-Match": f'"{version}"'}, {"If-Match": '"0123"'}
    assert requests.post(f"{one}/batch", json={"samples": [1]}, headers=right, timeout=30).status_code == 200
    refused = requests.post(f"{one}/batch", json={"samples": [1]}, headers=wrong, timeout=30)
    assert (refused.status_code, refused.json()["exit_code"]) == (412, 7)


def test_the_file_comes_whole_and_in_parts(service: str, frames_id: str, frames: cache.FrameCache) -> None:
    address, whole = f"{service}/v1/caches/{frames_id}/file", frames.path.read_bytes()
    first = requests.get(address, timeout=30)
    assert first.content == whole
    n = len(whole)
    for asked, start, end in (("0-99", 0, 100), ("100-", 100, n), ("-7", n - 7, n), (f"5-{10 * n}", 5, n)):
        part = requests.get(address, headers={"Range": f"bytes={asked}", "If-Range": first.headers["ETag"]}, timeout=30)
        assert part.status_code == 206
        assert part.content == whole[start:end]
        assert part.headers["Content-Range"] == f"bytes {start}-{end - 1}/{n}"
    for ignored in ("bytes=0-1,5-6", "lines=1-2", "bytes=9-3", "bytes=a-b"):
        answer = requests.get(address, headers={"Range": ignored}, timeout=30)
        assert (answer.status_code, answer.content) == (200, whole)
    other = requests.get(address, headers={"Range": "bytes=0-1", "If-Range": '"old"'}, timeout=30)
    assert (other.status_code, other.content) == (200, whole)
    assert requests.get(address, headers={"Range": f"bytes={n}-"}, timeout=30).status_code == 416


def test_the_digest_is_the_files(service: str, frames_id: str, frames: cache.FrameCache) -> None:
    import hashlib

    told = requests.get(f"{service}/v1/caches/{frames_id}/digest", timeout=30).json()
    assert told["sha256"] == hashlib.sha256(frames.path.read_bytes()).hexdigest()
    assert told["bytes"] == frames.path.stat().st_size


def test_health_and_metrics(service: str, frames_id: str) -> None:
    assert requests.get(f"{service}/healthz", timeout=30).json()["status"] == "ok"
    before = requests.get(f"{service}/metrics", timeout=30).text
    requests.post(f"{service}/v1/caches/{frames_id}/batch", json={"samples": [1, 2, 3]}, timeout=30)
    after = requests.get(f"{service}/metrics", timeout=30).text

    def samples(text: str) -> float:
        return float(
            next(line for line in text.splitlines() if line.startswith("dvsprep_samples_sent_total")).split()[1]
        )

    assert samples(after) - samples(before) == 3
    named = [line.split()[2] for line in after.splitlines() if line.startswith("# TYPE dvsprep_")]
    assert all(name.endswith(("_total", "_seconds", "_listed", "_created")) for name in named)


def test_a_message_that_was_cut_or_changed_is_refused(service: str, frames_id: str) -> None:
    from dvsprep.errors import IntegrityError

    good = requests.post(f"{service}/v1/caches/{frames_id}/batch", json={"samples": [1, 2]}, timeout=30).content
    for bad in (b"", good[:7], good[:20], good[:-1], b"DVS2" + good[4:], good + b"x", zlib.compress(good)):
        with pytest.raises(IntegrityError):
            wire.unpack(bad)
    flipped = bytearray(good)
    flipped[-5] ^= 1
    with pytest.raises(IntegrityError, match="sample 2"):
        wire.unpack(flipped)
