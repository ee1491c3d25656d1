"""A zip read in place: the same files as its extracted folder has, or the same refusal."""

from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path

import making
import pytest

from dvsprep.errors import ArchiveError
from dvsprep.raw import Archive, Member, extract, inside

FILES = {
    "top/b/2.bin": bytes(range(256)) * 40,
    "top/b/10.bin": b"",
    "top/a.bin": b"a" * 3000,
    "top/a/z.bin": b"z",
    "top/.hidden/x.bin": b"hidden",
    "top/a.tar.bin": b"\x00",
    "ü/list.txt": b"\xef\xbb\xbf1,2\r\n3,4\r\n",
    "__MACOSX/top/a.bin": b"debris",
}


def packed(path: Path, members: dict[str, bytes] = FILES, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as pack:
        for name, data in members.items():
            pack.writestr(name, data)
    return path


def root(path: Path) -> Member:
    return Member(Archive.of(path))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_members_are_what_the_extracted_files_are(tmp_path: Path, method: int) -> None:
    path = packed(tmp_path / "x.zip", method=method)
    folder, tree = extract(path, tmp_path / "x"), root(path)
    for member, file in making.members_like_files(tree, folder):
        assert (member.name, member.stem, member.suffix) == (file.name, file.stem, file.suffix)
        assert member.parent.name == file.parent.name
        assert (member.parent / member.name) == member
        assert [m.name for m in member.parents][:-1] == [p.name for p in file.relative_to(folder).parents][:-1]
    assert (tree / "ü" / "list.txt").read_text("utf-8-sig") == (folder / "ü/list.txt").read_text("utf-8-sig")
    again = pickle.loads(pickle.dumps(tree / "top"))
    assert (again, again.is_dir(), again.is_relative_to(tree)) == (tree / "top", True, True)


def test_what_is_not_there(tmp_path: Path) -> None:
    tree = root(packed(tmp_path / "x.zip"))
    assert not (tree / "top" / "nothing").is_file()
    with pytest.raises(FileNotFoundError):
        (tree / "top").read_bytes()
    with pytest.raises(ArchiveError, match=r"holds no z2\.bin"):
        tree.holding("z2.bin")
    with pytest.raises(ValueError, match="does not lie in"):
        (tree / "top").relative_to(root(packed(tmp_path / "y.zip")))


@pytest.mark.parametrize("name", ["../x", "/x", "C:x", "a\\x"])
def test_unsafe_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArchiveError, match="unsafe name"):
        list(root(packed(tmp_path / "x.zip", {"a": b"1", name: b"2"})).files(""))


def test_a_name_that_is_file_and_folder_or_twice_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="twice, or as file and folder"):
        root(packed(tmp_path / "x.zip", {"a": b"1", "a/b": b"2"})).is_dir()
    with pytest.raises(ArchiveError, match="twice, or as file and folder"):
        root(packed(tmp_path / "y.zip", {"a/b": b"1", "./a/b": b"2"})).is_file()


def test_more_bytes_than_allowed_are_refused_before_any_comes_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path / "x.zip", {"a": bytes(1 << 20)})
    monkeypatch.setattr(inside, "GIB", 0)
    with pytest.raises(ArchiveError, match="unpacks to more than"):
        root(path).is_file()


@pytest.mark.parametrize("without_wheels", [False, True])
def test_a_flipped_bit_never_brings_out_other_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_wheels: bool
) -> None:
    if without_wheels:
        import zlib

        monkeypatch.setattr(inside, "_inflate_raw", inside.inflate_with_zlib)
        monkeypatch.setattr(inside, "_crc32", zlib.crc32)
        monkeypatch.setattr(inside, "_DAMAGED", (zlib.error,))
    whole = packed(tmp_path / "x.zip", {"a": bytes(range(200)) * 3}).read_bytes()
    refused = []
    for at in range(30 + len("a"), whole.index(b"PK\x01\x02")):
        path = tmp_path / f"{at}.zip"
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        try:
            found = bytes((root(path) / "a").read_bytes())
        except ArchiveError as error:
            refused.append(f"{at}.zip" in str(error) and "broken" in str(error))
        else:
            assert found == bytes(range(200)) * 3, "a bit behind the end of the stream"
    assert len(refused) > 200
    assert all(refused)


@pytest.mark.parametrize("declared", [10, 599, 601, 100_000])
def test_another_size_than_declared_is_an_error(tmp_path: Path, declared: int) -> None:
    path = packed(tmp_path / "x.zip", {"a": bytes(range(200)) * 3})
    whole = bytearray(path.read_bytes())
    struct.pack_into("<I", whole, whole.index(b"PK\x01\x02") + 24, declared)
    path.write_bytes(whole)
    with pytest.raises(ArchiveError, match="broken"):
        (root(path) / "a").read_bytes()


def test_a_header_that_is_not_where_the_listing_says_is_an_error(tmp_path: Path) -> None:
    path = packed(tmp_path / "x.zip", {"a": b"1" * 50})
    whole = bytearray(path.read_bytes())
    whole[0:4] = b"PK\x07\x08"
    path.write_bytes(whole)
    with pytest.raises(ArchiveError, match="no header of 'a'"):
        (root(path) / "a").read_bytes()


def test_an_archive_that_was_replaced_is_listed_anew(tmp_path: Path) -> None:
    path = packed(tmp_path / "x.zip", {"a": b"1"})
    assert (root(path) / "a").read_bytes() == b"1"
    packed(tmp_path / "y.zip", {"a": b"22"}).replace(path)
    assert (root(path) / "a").read_bytes() == b"22"
