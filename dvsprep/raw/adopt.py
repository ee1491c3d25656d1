"""Files that a person downloaded, wherever they lie, become files of the download folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from dvsprep.disk import link_or_copy, set_aside
from dvsprep.errors import HashMismatchError, NotFoundError, UsageError
from dvsprep.raw.resource import Resource
from dvsprep.raw.verify import NO_HASH, Digest, Ledger, check, digest_file, is_html, mismatch


class _Match(NamedTuple):
    file: Path
    resource: Resource
    digest: Digest
    why: str


def adopt(
    resources: Iterable[Resource],
    files: Iterable[Path],
    folder: Path,
    *,
    verify: bool = True,
    warn: Callable[[str], None],
) -> list[Path]:
    """Link (or copy) verified files into `folder` under their published names; return those paths.

    A file is known by its name, else by its MD5. All are judged before the first is placed. The person's own
    files are never moved, changed or deleted; another file that has the name in `folder` is set aside as
    ``.bad``.

    Raises
    ------
    UsageError
        A file that is none of the resources, or two different files for one resource.
    HashMismatchError
        A file that is not the published one.
    """
    known = list(resources)
    matches: dict[str, _Match] = {}
    for file in files:
        match = _match(known, Path(file), verify=verify)
        first = matches.setdefault(match.resource.name, match)
        if first.digest != match.digest:
            raise UsageError(f"{first.file} and {file} differ, and both would be {match.resource.name}")
    for match in matches.values():
        if match.why:
            warn(f"{match.file} is adopted without verification: {match.why}, its MD5 is {match.digest.md5}")
    folder.mkdir(parents=True, exist_ok=True)
    return [_place(match, folder) for match in matches.values()]


def _match(resources: list[Resource], file: Path, *, verify: bool) -> _Match:
    if not file.exists():
        raise NotFoundError(f"{file} does not exist")
    if not file.is_file():
        raise UsageError(f"{file} is not a file", hint="name the downloaded files themselves")
    digest = digest_file(file, sha256=any(resource.sha256 for resource in resources))
    by_name = [resource for resource in resources if resource.name == file.name]
    by_hash = [resource for resource in resources if resource.md5 and resource.md5.lower() == digest.md5]
    if not (by_name or by_hash):
        names = ", ".join(resource.describe() for resource in resources)
        raise UsageError(f"{file} (MD5 {digest.md5}) is none of the files expected: {names}")
    resource = (by_name or by_hash)[0]
    why = mismatch(resource, digest)
    if why and verify:
        with file.open("rb") as opened:
            page = ", it is an HTML page" if is_html(opened.read(64)) else ""
        hint = "pass --no-verify to use it as it is" if why == NO_HASH else "download it again, or pass --no-verify"
        raise HashMismatchError(f"{file}: {why}{page}; the file was left where it is", hint=hint)
    return _Match(file, resource, digest, why)


def _place(match: _Match, folder: Path) -> Path:
    target = folder / match.resource.name
    if target.exists() and not target.samefile(match.file):
        there = check(match.resource, folder, verify=False)
        if there.md5 == match.digest.md5:
            return target
        set_aside(target)
    if not target.exists():
        link_or_copy(match.file, target)
    own = not (match.why or match.resource.published)
    Ledger(folder).record(match.resource.name, target, match.digest.md5, not match.why, match.digest.sha256, own=own)
    return target
