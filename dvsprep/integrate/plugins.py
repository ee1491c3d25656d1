"""A user's integrator: found by name, told apart by its source, and checked in what it returns."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from dvsprep.errors import DvsprepError, PluginError
from dvsprep.types import Array, Events

GROUP = "dvsprep.integrators"


@dataclass(frozen=True)
class Plugin:
    """A user's function and what tells it from any other: its name and the hash of the file that defines it."""

    name: str
    function: Callable[..., Any]
    identity: dict[str, str]


def load(reference: str) -> Plugin:
    """Load ``module:function``, ``path/to/file.py:function`` or an entry point of the group dvsprep.integrators.

    Raises
    ------
    PluginError
        It cannot be found, does not import, or is no function; the message holds the real cause.
    """
    try:
        function, module = _find(reference)
    except DvsprepError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(f"plugin {reference}: importing it fails: {type(error).__name__}: {error}") from error
    if not callable(function):
        raise PluginError(f"plugin {reference}: a {type(function).__name__}, not a function f(events, H, W, **params)")
    name = reference.rpartition(":")[2]
    return Plugin(reference, function, {"function": name, "sha256": _source_hash(function, module, reference)})


def _find(reference: str) -> tuple[Any, ModuleType]:
    """Return what a reference names and the module it is named in."""
    place, colon, name = reference.rpartition(":")
    if not colon:
        found = entry_points(group=GROUP, name=reference)
        if not found:
            known = ", ".join(sorted(e.name for e in entry_points(group=GROUP))) or "none installed"
            raise PluginError(
                f"no integrator is named {reference!r} (entry points of {GROUP}: {known})",
                hint="a function is named module:function or path/to/file.py:function",
            )
        entry = next(iter(found))
        return entry.load(), sys.modules[entry.module]
    module = _from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    try:
        return getattr(module, name), module
    except AttributeError:
        raise PluginError(f"plugin {reference}: {place} has no {name!r}") from None


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise PluginError(f"plugin file {path} is not there")
    # One module a file and content: a changed file is never served from an earlier import of the same process.
    digest = hashlib.sha256(str(path.resolve()).encode() + path.read_bytes()).hexdigest()[:16]
    name = f"_dvsprep_plugin_{digest}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path, loader=_FromSource(name, str(path)))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


class _FromSource(SourceFileLoader):
    """Take no bytecode: Python tells it by size and second, and would run old code for a file edited twice in one."""

    def path_stats(self, path: Any) -> Any:  # noqa: ARG002
        raise OSError


def _source_hash(function: Any, module: ModuleType, reference: str) -> str:
    """Hash the file that defines the function and, behind a decorator of another file, the one that names it.

    Whole files: helpers beside the function change its results too. The path does not count.
    """
    try:
        sources = {Path(inspect.getsourcefile(inspect.unwrap(function)) or "").read_bytes()}
    except (TypeError, OSError):
        version = getattr(function, "version", None)
        if version is None:
            raise PluginError(
                f"plugin {reference}: its source is not to be had, so a change in it would go unseen",
                hint="give the function an attribute `version`",
            ) from None
        return hashlib.sha256(str(version).encode()).hexdigest()
    if module.__file__ is not None:
        sources.add(Path(module.__file__).read_bytes())
    return hashlib.sha256(b"".join(sorted(sources))).hexdigest()


def call(plugin: Plugin, events: Events, H: int, W: int, params: dict[str, Any], sample: str) -> Array:
    """Call a user's function and check that it returns frames [T, C, H, W] of numbers.

    A function that makes frames of another size says so in an attribute ``out_hw = (H, W)``.
    """
    try:
        frames = plugin.function(events, H, W, **params)
    except (Exception, SystemExit) as error:
        raise PluginError(f"plugin {plugin.name} on sample {sample}: {type(error).__name__}: {error}") from error
    out_hw = tuple(getattr(plugin.function, "out_hw", (H, W)))
    if not isinstance(frames, np.ndarray):
        raise PluginError(
            f"plugin {plugin.name} on sample {sample}: returned {type(frames).__name__}, expected an array"
        )
    if frames.ndim != 4 or frames.shape[2:] != out_hw or 0 in frames.shape[1:]:
        raise PluginError(
            f"plugin {plugin.name} on sample {sample}: returned shape {list(frames.shape)}, "
            f"expected [T, C, {out_hw[0]}, {out_hw[1]}]",
            hint="a function that changes the frame size declares function.out_hw = (H, W)",
        )
    if frames.dtype.kind not in "uifb":
        raise PluginError(f"plugin {plugin.name} on sample {sample}: returned type {frames.dtype}, expected numbers")
    return np.ascontiguousarray(frames.astype(np.uint8) if frames.dtype.kind == "b" else frames)
