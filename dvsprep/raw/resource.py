"""What is known about one published file before a byte of it is here."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Resource:
    """One published file.

    Parameters
    ----------
    name : str
        The file name under which it lies in the download folder.
    md5, sha256 : str, optional
        Hex digests as published; of ``sha256`` the first digits will do.
    size : int, optional
        Bytes.
    urls : tuple of str
        Direct sources (http, https, file) in the order to try; empty when only a person can get the file.
    page : str
        The page a person opens to get it.
    optional : bool
        A side file that no stage needs.
    published : bool
        Whether size and hashes are the published ones, not an MD5 that a person gave (`expect`).
    """

    name: str
    md5: str | None
    size: int | None = None
    sha256: str | None = None
    urls: tuple[str, ...] = ()
    page: str = ""
    optional: bool = False
    published: bool = True

    def describe(self) -> str:
        """Return name, size and hashes in one line, as far as they are known."""
        facts = [f"{self.size:,} bytes"] if self.size is not None else []
        facts += [f"MD5 {self.md5}{'' if self.published else ' as given by --md5sums'}"] if self.md5 else []
        facts += [f"SHA-256 {self.sha256}"] if self.sha256 else []
        return f"{self.name} ({', '.join(facts) or 'no published size or hash'})"


def manual_instructions(dataset: str, resources: Iterable[Resource], folder: Path, command: str) -> str:
    """Say, in several lines, which files to get where, in which folder to put them, and what to run then."""
    wanted = [resource for resource in resources if not resource.optional]
    pages = list(dict.fromkeys(resource.page for resource in wanted if resource.page))
    folder = folder.absolute()
    root = shlex.quote(str(folder.parents[1]))  # folder is ROOT/NAME/download
    bad = [f"{resource.name}.bad" for resource in wanted if (folder / f"{resource.name}.bad").exists()]
    return "\n".join(
        [
            f"{dataset} has to be downloaded by hand:",
            "",
            *(f"  open      {page}" for page in pages),
            *(f"  download  {resource.describe()}" for resource in wanted),
            f"  put into  {folder}",
            f"  then run  {command} --root {root}",
            "",
            "Or leave it where the browser put it:",
            "",
            f"  run       dvsprep adopt {folder.parent.name} --root {root} PATH/TO/{wanted[0].name}",
            *(["", f"{', '.join(bad)} lies in that folder, for its MD5 is wrong."] if bad else []),
            *(["To use it as it is, rename it back and pass --no-verify."] if bad else []),
        ]
    )
