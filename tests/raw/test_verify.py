import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dvsprep.disk import set_aside
from dvsprep.errors import HashMismatchError, ManualDownloadError, NotFoundError
from dvsprep.raw import Ledger, Resource, check, is_complete, manual_instructions, md5_file, require, vouched
from dvsprep.raw import verify as verify_module

DATA = b"\x1f\x8b event data" * 1000
MD5 = hashlib.md5(DATA).hexdigest()
FILE = Resource("a.tar.gz", MD5, len(DATA), page="https://example.org/page")


def put(folder: Path, data: bytes = DATA, name: str = "a.tar.gz") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def silent(text: str) -> None:
    raise AssertionError(f"unexpected warning: {text}")


def no_hashing(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("hashed again")

    monkeypatch.setattr(verify_module, "digest_file", fail)


def test_md5_file_counts_every_byte(tmp_path):
    done = []
    assert md5_file(put(tmp_path), done.append) == MD5
    assert sum(done) == len(DATA)


def test_ok_is_hashed_once_until_the_file_changes(tmp_path, monkeypatch):
    path = put(tmp_path)
    assert check(FILE, tmp_path) == ("a.tar.gz", "ok", "", MD5, path)
    with monkeypatch.context() as patch:
        no_hashing(patch)
        assert check(FILE, tmp_path).state == "ok"
        os.utime(path, ns=(1, 1))
        with pytest.raises(AssertionError, match="hashed again"):
            check(FILE, tmp_path)
    path.write_bytes(DATA[:-1] + b"?")
    assert check(FILE, tmp_path).state == "wrong"


@pytest.mark.parametrize(
    ("data", "resource", "state", "words"),
    [
        (None, FILE, "missing", ["expected", "a.tar.gz"]),
        (DATA[:-1], FILE, "partial", [str(len(DATA)), str(len(DATA) - 1)]),
        (DATA + b"!", FILE, "wrong", [f"expected {len(DATA)}, got {len(DATA) + 1}", f"expected {MD5}"]),
        (b"x" * len(DATA), FILE, "wrong", [f"MD5: expected {MD5}, got "]),
        (DATA, Resource("a.tar.gz", None), "wrong", ["no published hash"]),
        (DATA, Resource("a.tar.gz", MD5, sha256="0" * 64), "wrong", ["SHA-256: expected 000"]),
        (DATA, Resource("a.tar.gz", MD5.upper()), "ok", []),
        (DATA, Resource("a.tar.gz", None, sha256=hashlib.sha256(DATA).hexdigest()), "ok", []),
    ],
)
def test_verdicts(tmp_path, data, resource, state, words):
    if data is not None:
        put(tmp_path, data)
    verdict = check(resource, tmp_path)
    assert verdict.state == state
    assert [word for word in words if word not in verdict.why] == []
    assert check(resource, tmp_path) == verdict, "the ledger must not change a verdict"


def test_no_published_hash_is_ok_without_verify(tmp_path):
    put(tmp_path)
    assert check(Resource("a.tar.gz", None), tmp_path, verify=False)[1:4] == ("ok", "no published hash", MD5)


@pytest.mark.parametrize("name", ["a.tar.gz.part", "a.tar.gz.part-123-abc-def"])
def test_a_part_alone_is_partial(tmp_path, name):
    put(tmp_path, b"half", name)
    verdict = check(FILE, tmp_path)
    assert verdict.state == "partial"
    assert name in verdict.why


def test_a_part_that_another_process_finishes_meanwhile_is_the_file(tmp_path, monkeypatch):
    part = put(tmp_path, DATA, "a.tar.gz.part-0")
    listing = Path.iterdir

    def listed_then_renamed(folder):
        names = list(listing(folder))
        if part.exists():
            part.rename(tmp_path / "a.tar.gz")
        return iter(names)

    monkeypatch.setattr(Path, "iterdir", listed_then_renamed)
    assert check(FILE, tmp_path).state == "ok"


def test_a_folder_in_the_files_place_is_wrong(tmp_path):
    (tmp_path / "a.tar.gz").mkdir()
    assert check(FILE, tmp_path).state == "wrong"
    with pytest.raises(HashMismatchError, match=r"a\.tar\.gz\.bad"):
        require([FILE], tmp_path, verify=False, warn=silent)


def test_missing_folder_is_missing(tmp_path):
    assert check(FILE, tmp_path / "nowhere").state == "missing"


def test_ledger_outlives_the_file_and_keeps_its_sha256(tmp_path, monkeypatch):
    path = put(tmp_path)
    resource = Resource("a.tar.gz", MD5, sha256=hashlib.sha256(DATA).hexdigest())
    assert check(resource, tmp_path).state == "ok"
    with monkeypatch.context() as patch:
        no_hashing(patch)
        assert check(resource, tmp_path).state == "ok"
    stat = path.stat()
    path.unlink()
    assert Ledger(tmp_path).get("a.tar.gz") == (
        MD5, len(DATA), stat.st_mtime_ns, stat.st_ino, True, resource.sha256, False,
    )  # fmt: skip
    assert Ledger(tmp_path).get("b") is None


def test_a_record_of_an_md5_alone_does_not_pass_a_sha256(tmp_path):
    put(tmp_path)
    assert check(FILE, tmp_path).state == "ok"
    assert check(Resource("a.tar.gz", MD5, sha256="0" * 64), tmp_path).state == "wrong"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"a.tar.gz": 3}', '{"a.tar.gz": {"md5": "x"}}', "\xff"])
def test_a_broken_ledger_is_an_empty_one(tmp_path, text):
    put(tmp_path)
    (tmp_path / ".dvsprep.json").write_bytes(text.encode("latin-1"))
    assert Ledger(tmp_path).get("a.tar.gz") is None
    assert check(FILE, tmp_path).state == "ok"
    assert json.loads((tmp_path / ".dvsprep.json").read_text())["a.tar.gz"]["md5"] == MD5


def test_a_folder_that_cannot_be_written_is_no_obstacle(tmp_path, monkeypatch):
    put(tmp_path)

    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(verify_module, "write_whole", refuse)
    assert require([FILE], tmp_path, warn=silent) == {"a.tar.gz": MD5}
    assert not (tmp_path / ".dvsprep.json").exists()


def test_the_ledger_leaves_no_temporary_behind(tmp_path, monkeypatch):
    path = put(tmp_path)
    monkeypatch.setattr(Path, "replace", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    Ledger(tmp_path).record("a.tar.gz", path, MD5, True)
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".lock"] == ["a.tar.gz"]


def test_require_returns_the_md5_of_what_is_needed(tmp_path):
    put(tmp_path)
    side = Resource("README", "0" * 32, optional=True)
    assert require([FILE, side], tmp_path, warn=silent) == {"a.tar.gz": MD5}
    put(tmp_path, b"other", "README")
    told = []
    assert require([FILE, side], tmp_path, warn=told.append) == {"a.tar.gz": MD5}
    assert len(told) == 1
    assert "README" in told[0]
    assert (tmp_path / "README").read_bytes() == b"other"


def test_require_sets_a_wrong_file_aside_and_never_overwrites(tmp_path):
    for bad, data in (("a.tar.gz.bad", b"1" * len(DATA)), ("a.tar.gz.bad2", b"2" * len(DATA))):
        put(tmp_path, data)
        with pytest.raises(HashMismatchError) as caught:
            require([FILE], tmp_path, warn=silent)
        for word in (MD5, hashlib.md5(data).hexdigest(), f"{len(DATA):,} bytes", bad, "--no-verify"):
            assert word in str(caught.value)
        assert (tmp_path / bad).read_bytes() == data
        assert not (tmp_path / "a.tar.gz").exists()
    with pytest.raises(ManualDownloadError, match=r"rename it back and pass --no-verify"):
        require([FILE], tmp_path, warn=silent)


def test_require_tells_an_html_page(tmp_path):
    put(tmp_path, b"\n<!DOCTYPE html>" + b" " * len(DATA))
    with pytest.raises(HashMismatchError, match="HTML page"):
        require([FILE], tmp_path, warn=silent)


def test_a_file_without_published_hash_is_refused_but_not_called_bad(tmp_path):
    path = put(tmp_path)
    with pytest.raises(HashMismatchError, match="no published hash"):
        require([Resource("a.tar.gz", None)], tmp_path, warn=silent)
    assert path.exists()


def test_require_names_every_missing_file_and_the_folder(tmp_path):
    other = Resource("b.zip", None, urls=("http://127.0.0.1/b.zip",))
    put(tmp_path, b"short", "a.tar.gz")
    with pytest.raises(ManualDownloadError) as caught:
        require([FILE, other], tmp_path, warn=silent)
    for word in ("a.tar.gz", "b.zip", str(tmp_path), "partial", "missing", FILE.page):
        assert word in str(caught.value)
    assert (tmp_path / "a.tar.gz").exists(), "a download may still be running"
    with pytest.raises(NotFoundError) as caught_other:
        require([other], tmp_path, warn=silent)
    assert not isinstance(caught_other.value, ManualDownloadError)


@pytest.mark.parametrize("data", [b"short", b"x" * len(DATA), DATA + b"!"])
def test_no_verify_accepts_with_one_warning_and_records_it(tmp_path, data):
    put(tmp_path, data)
    got = hashlib.md5(data).hexdigest()
    told = []
    assert require([FILE], tmp_path, verify=False, warn=told.append) == {"a.tar.gz": got}
    assert len(told) == 1
    assert MD5 in told[0]
    assert got in told[0]
    entry = Ledger(tmp_path).get("a.tar.gz")
    assert entry is not None
    assert (entry.md5, entry.verified) == (got, False)
    with pytest.raises((HashMismatchError, ManualDownloadError)):
        require([FILE], tmp_path, warn=silent)


def test_no_verify_does_not_make_up_a_missing_file(tmp_path):
    put(tmp_path, b"half", "a.tar.gz.part")
    with pytest.raises(ManualDownloadError, match=r"only a\.tar\.gz\.part"):
        require([FILE], tmp_path, verify=False, warn=silent)


def test_manual_instructions_say_all_a_person_needs(tmp_path):
    side = Resource("README", None, optional=True)
    text = manual_instructions("dvs128", [FILE, side], tmp_path, "dvsprep adopt dvs128 FILE")
    for word in (
        "dvs128",
        "a.tar.gz",
        f"{len(DATA):,} bytes",
        MD5,
        FILE.page,
        str(tmp_path),
        "dvsprep adopt dvs128 FILE",
    ):
        assert word in text
    assert "README" not in text


def test_a_record_vouches_only_for_what_is_expected_today(tmp_path):
    put(tmp_path)
    check(FILE, tmp_path)
    entry = Ledger(tmp_path).get("a.tar.gz")
    assert vouched(FILE, entry)
    assert not vouched(replace(FILE, md5="0" * 32), entry), "the description was edited since"
    assert not vouched(replace(FILE, sha256="0" * 64), entry), "never hashed with SHA-256"
    assert not vouched(FILE, None)


def test_the_ledger_of_a_folder_may_lie_in_another(tmp_path):
    folder, own = tmp_path / "shared", tmp_path / "own"
    folder.mkdir()
    path = put(folder)
    ledger = Ledger(folder, own)
    check(FILE, folder, ledger=ledger)
    assert list(folder.iterdir()) == [path]
    assert vouched(FILE, ledger.fresh("a.tar.gz", path))
    assert Ledger(own).get("a.tar.gz") == ledger.get("a.tar.gz")


def test_processes_that_record_at_once_lose_nothing_of_each_other(tmp_path):
    code = (
        "import sys; from pathlib import Path; from dvsprep.raw import Ledger, verify\n"
        "from dvsprep.raw.verify import Entry\n"
        "for i in range(30): Ledger(Path(sys.argv[1])).put(f'{sys.argv[2]}{i}', Entry('0' * 32, 1, 2, 3, True))\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in "ab"]
    assert [process.wait(60) for process in running] == [0, 0]
    assert len(Ledger(tmp_path).entries()) == 60


def test_setting_aside_never_replaces_what_was_set_aside_meanwhile(tmp_path, monkeypatch):
    put(tmp_path, b"first", "a.bad")
    monkeypatch.setattr(Path, "exists", lambda _: False)  # as it was a moment ago
    assert set_aside(put(tmp_path, b"second", "a")).name == "a.bad2"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.bad": b"first", "a.bad2": b"second"}


def test_an_empty_folder_is_no_extracted_one(tmp_path):
    assert not is_complete(tmp_path)
    put(tmp_path)
    assert is_complete(tmp_path)
    assert not is_complete(tmp_path / "a.tar.gz")


def test_a_short_file_that_was_accepted_is_named_and_stays(tmp_path):
    path = put(tmp_path, DATA[:-1])
    warnings = []
    require([FILE], tmp_path, verify=False, warn=warnings.append)
    with pytest.raises(HashMismatchError) as caught:
        require([FILE], tmp_path, warn=silent)
    sizes = f"size in bytes: expected {len(DATA)}, got {len(DATA) - 1}"
    assert caught.value.message.startswith(f"{path}: MD5: expected {MD5}, got ")
    assert caught.value.message.endswith(f"; {sizes} (accepted before)")
    assert caught.value.hint == "pass --no-verify to use it as it is"
    assert path.read_bytes() == DATA[:-1]


def test_of_several_files_each_has_a_line_of_its_own(tmp_path):
    other = replace(FILE, name="b.tar.gz")
    with pytest.raises(ManualDownloadError) as caught:
        require([FILE, other], tmp_path, warn=silent)
    assert caught.value.message == f"2 files are not in {tmp_path}: a.tar.gz, b.tar.gz"
    assert [line.split(" (")[0] for line in caught.value.details] == ["a.tar.gz", "b.tar.gz"]
    for name in ("a.tar.gz", "b.tar.gz"):
        put(tmp_path, b"x" * len(DATA), name)
    with pytest.raises(HashMismatchError) as caught:
        require([FILE, other], tmp_path, warn=silent)
    assert caught.value.message == "2 files are not what was published: a.tar.gz, b.tar.gz"
    assert [line.rpartition(" ")[2] for line in caught.value.details] == ["a.tar.gz.bad", "b.tar.gz.bad"]
