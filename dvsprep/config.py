"""Settings: an environment variable, else a line of ``config.toml``, else a default. Flags, in ``cli/``, go before all.

root = "$SCRATCH/dvsprep"              # a relative path counts from this file's folder
shared_roots = ["/data/dvsprep"]
mirrors = ["https://mirror.example.org/events"]
offline = false
jobs = 4
codec = "packed"
remote_gb = 16                         # for samples fetched from a service, below the root; 0: keep none

[datasets.cifar10dvs]                  # goes before the mirrors of all
mirrors = ["/data/archives"]
"""

from __future__ import annotations

import difflib
import functools
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dvsprep.errors import NotFoundError, UsageError

TYPES: dict[str, type] = {
    "root": str, "shared_roots": list, "mirrors": list, "offline": bool, "jobs": int, "codec": str,
    "remote_gb": int,
}  # fmt: skip
WORDS = {str: "text", list: "a list of texts", bool: "true or false", int: "a whole number", dict: "a table"}
_OFF = frozenset({"", "0", "false", "no", "off"})


def path() -> Path | None:
    """Return where the file lies or would lie: ``$DVSPREP_CONFIG`` (empty: nowhere), else the user's config folder."""
    named = os.environ.get("DVSPREP_CONFIG")
    if named is not None:
        return Path(named).expanduser() if named else None
    import platformdirs

    return Path(platformdirs.user_config_dir("dvsprep", appauthor=False), "config.toml")


def root() -> Path:
    """Return the folder that everything lies below."""
    if value := _lookup("root")[0]:
        return Path(value).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("dvsprep"))


def shared_roots() -> list[Path]:
    """Return the read-only roots in the order to search; in ``$DVSPREP_SHARED_ROOTS`` separated as in ``$PATH``."""
    names = _lookup("shared_roots", lambda text: text.split(os.pathsep))[0] or ()
    return [Path(name).expanduser() for name in names if name.strip()]


def mirrors(dataset: str = "") -> list[str]:
    """Return the mirrors to try first: ``$DVSPREP_MIRRORS`` (split at blanks), else the file's, the dataset's first."""
    value, origin = _lookup("mirrors", str.split)
    own = [] if origin.startswith("$") else tables().get(dataset, {}).get("mirrors", [])
    return [*own, *(value or ())]


def offline() -> bool:
    """Tell whether no socket may be opened."""
    value, _ = _lookup("offline", lambda text: text.strip().lower() not in _OFF)
    return bool(value)


def jobs() -> int | None:
    """Return the number of workers, if one is set."""
    value: int | None = _lookup("jobs", lambda text: _whole("jobs", text))[0]
    return value


def remote_gb() -> int:
    """Return how many gigabytes of samples fetched from a service are kept; 0 for none."""
    value: int | None = _lookup("remote_gb", lambda text: _whole("remote_gb", text))[0]
    return 16 if value is None else value


def _whole(key: str, text: str) -> int:
    least = _least(key)
    if not (text.strip().isdecimal() and int(text) >= least):
        raise UsageError(f"$DVSPREP_{key.upper()} is {text!r}, expected a whole number of at least {least}")
    return int(text)


def _least(key: str) -> int:
    return 0 if key == "remote_gb" else 1


def codec() -> str:
    """Return the name of the codec."""
    return str(_lookup("codec", str)[0] or "packed")


def settings() -> dict[str, tuple[Any, str]]:
    """Return every setting as (value, where it is from)."""
    values = {
        "root": str(root()),
        "shared_roots": [str(folder) for folder in shared_roots()],
        "mirrors": mirrors(),
        "offline": offline(),
        "jobs": jobs(),
        "codec": codec(),
        "remote_gb": remote_gb(),
    }
    found = {key: (value, _lookup(key)[1]) for key, value in values.items()}
    for name, table in tables().items():
        found |= {f"datasets.{name}.{key}": (value, str(path())) for key, value in table.items()}
    return found


def tables() -> Mapping[str, Mapping[str, Any]]:
    """Return what the file says of single datasets."""
    found: Mapping[str, Mapping[str, Any]] = _read().get("datasets", {})
    return found


def _lookup(key: str, parse: Callable[[str], Any] = str) -> tuple[Any, str]:
    """Return a setting, None if nobody set it, and where it is from; an empty variable counts as unset."""
    variable = f"DVSPREP_{key.upper()}"
    if text := os.environ.get(variable, "").strip():
        return parse(text), f"${variable}"
    facts = _read()
    return (facts[key], str(path())) if key in facts else (None, "default")


def _read() -> Mapping[str, Any]:
    """Return what the file says; it is parsed again only when it has changed."""
    file = path()
    if file is None:
        return {}
    try:
        stat = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        if "DVSPREP_CONFIG" in os.environ:
            raise NotFoundError(f"$DVSPREP_CONFIG names {file}, which does not exist") from None
        return {}
    return _parsed(file.absolute(), stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=1)
def _parsed(file: Path, _mtime: int, _size: int) -> Mapping[str, Any]:
    import tomllib

    try:
        facts = tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: no TOML: {error}") from None
    _check(facts, TYPES | {"datasets": dict}, file, "")
    tables = facts.get("datasets", {})
    for name, table in tables.items():
        if type(table) is not dict:
            raise UsageError(f"{file}: datasets.{name} is {table!r}, expected a table [datasets.{name}]")
        _check(table, {"mirrors": list}, file, f"datasets.{name}.")
    for table in (facts, *tables.values()):
        for key in ("shared_roots", "mirrors"):
            if key in table:
                table[key] = [_place(text, file) for text in table[key]]
    return facts | ({"root": _place(facts["root"], file)} if "root" in facts else {})


def _check(facts: Mapping[str, Any], known: Mapping[str, type], file: Path, prefix: str) -> None:
    for key, value in facts.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise UsageError(f"{file}: unknown key {prefix}{key}", hint=hint)
        texts = value if type(value) is list else [value] if type(value) is str else []
        if type(value) is not known[key] or not all(type(text) is str and text for text in texts):
            raise UsageError(f"{file}: {prefix}{key} is {value!r}, expected {WORDS[known[key]]}")
        if type(value) is int and value < _least(key):
            raise UsageError(f"{file}: {prefix}{key} is {value}, expected at least {_least(key)}")
        if any(re.search(r"//[^/@]*@", text) for text in texts):
            raise UsageError(f"{file}: {prefix}{key} holds a password", hint="~/.netrc is the place for it")


def _place(text: str, file: Path) -> str:
    """Return a folder with ~ and variables filled in, relative ones from the file's folder on; a URL as it is."""
    if "://" in text:
        return text
    full = os.path.expanduser(os.path.expandvars(text))  # noqa: PTH111 - Path.expanduser raises on an unknown user
    if "$" in full:
        raise UsageError(f"{file}: {text!r} names a variable that is not set")
    return str(file.parent / full)
