"""Other MD5s than the published ones, where a person has them: of a mirror's repacked archive, of a look-alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from dvsprep.errors import NotFoundError, UsageError
from dvsprep.raw.resource import Resource
from dvsprep.raw.verify import Ledger

_GNU = re.compile(r"([0-9a-fA-F]{32}) [ *](.+)")
_BSD = re.compile(r"MD5 \((.+)\) = ([0-9a-fA-F]{32})")


def read_md5sums(path: Path) -> dict[str, str]:
    """Return {file name: MD5} of a file as ``md5sum`` writes it; folders before the names do not matter."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise NotFoundError(f"{path} does not exist") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: byte {error.start} is no text; expected what `md5sum` prints") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        if match := _GNU.fullmatch(line.rstrip()):
            md5, name = match[1], match[2]
        elif match := _BSD.fullmatch(line.rstrip()):
            md5, name = match[2], match[1]
        else:
            raise UsageError(f"{path}, line {number}: expected '<MD5>  <file name>', got {line[:60]!r}")
        name = re.split(r"[/\\]", name)[-1]
        if found.setdefault(name, md5.lower()) != md5.lower():
            raise UsageError(f"{path}, line {number}: another MD5 of {name} than before")
    return found


def expect(
    resources: Iterable[Resource],
    folder: Path,
    md5s: Mapping[str, str] | None = None,
    *,
    ledger: Ledger | None = None,
) -> list[Resource]:
    """Return the resources with the MD5s they are to have: those in `md5s`, else the published ones.

    Without `md5s`, those that a person gave when the files of this download folder were fetched: what identifies
    what is made of them. ``{}`` is a return to the published ones.
    """
    resources = list(resources)
    if md5s is None:
        known = (ledger or Ledger(folder)).entries()
        md5s = {name: entry.md5 for name, entry in known.items() if entry.own and entry.verified}
    elif md5s and not any(resource.name in md5s for resource in resources):
        names = ", ".join(resource.name for resource in resources)
        raise UsageError(f"MD5s are given for {', '.join(md5s)}, none of which is a file of the dataset: {names}")
    return [_expected(resource, md5s.get(resource.name)) for resource in resources]


def _expected(resource: Resource, md5: str | None) -> Resource:
    if md5 is None or md5 == (resource.md5 or "").lower():
        return resource
    return replace(resource, md5=md5, sha256=None, size=None, published=False)
