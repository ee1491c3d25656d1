"""The kernels' decorator: no GIL, a compile cache where one can be written, and an import that never fails."""

import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba.core import caching

import dvsprep
from dvsprep import jit

PACKAGE = Path(dvsprep.__file__).parent


def plus_one(n):
    return n + 1


@pytest.fixture
def writable(monkeypatch):
    """Let Numba write its cache below one folder only, or nowhere."""

    def only(folder: Path | None) -> None:
        real = caching._CacheLocator.ensure_cache_path

        def ensure(locator):
            if folder is None or not Path(locator.get_cache_path()).is_relative_to(folder):
                raise PermissionError("read-only here")
            real(locator)

        monkeypatch.setattr(caching._CacheLocator, "ensure_cache_path", ensure)

    return only


def cache_folder(compiled) -> Path | None:
    path = compiled._cache.cache_path
    return Path(path) if path else None


def test_cache_lies_beside_the_source_or_where_numba_was_told():
    folder = cache_folder(jit.kernel(plus_one))
    assert folder is not None
    assert ".numba" not in folder.parts


def test_read_only_install_caches_in_our_own_folder(writable, tmp_path):
    own = Path(os.environ["DVSPREP_ROOT"]) / ".numba"
    writable(own)
    compiled = jit.kernel(plus_one)
    assert cache_folder(compiled).is_relative_to(own)
    assert compiled(41) == 42
    assert [p.suffix for p in sorted(own.rglob("*.nb?"))] == [".nbc", ".nbi"]


def test_nothing_writable_compiles_in_memory(writable):
    writable(None)
    compiled = jit.kernel(plus_one)
    assert cache_folder(compiled) is None
    assert compiled(41) == 42


def test_settings_of_others_stay_as_they_were(writable):
    before = jit.settings.CACHE_DIR
    writable(None)
    jit.kernel(plus_one)
    assert before == jit.settings.CACHE_DIR


def test_kernels_hold_no_gil():
    from dvsprep.events import _kernels as events
    from dvsprep.integrate import _kernels as integrate

    for kernel in (events.aedat31_decode, events.aedat2_decode, events.atis_decode, integrate.count, integrate.sums):
        assert kernel.targetoptions["nogil"] is True


# chmod does not bind root, who has CAP_DAC_OVERRIDE (1) unless it is dropped (PR_CAPBSET_DROP is 24) before exec.
POWERLESS = """
import ctypes, os, sys
if os.geteuid() == 0:
    ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
"""
CODE = """
import os
import numpy as np
import dvsprep
from dvsprep.integrate import integrate
from dvsprep.types import FrameSpec
print(os.access(".", os.W_OK), dvsprep.__file__)
events = {"t": np.arange(5), "x": np.arange(5), "y": np.zeros(5, int), "p": np.ones(5, int)}
print(integrate(events, FrameSpec("number", T=2), 5, 5).sum())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="chmod must bind root too, which takes prctl")
@pytest.mark.parametrize("home", ["home", None], ids=["HOME read-only", "no HOME"])
def test_read_only_install_imports_and_computes(tmp_path, home):
    # Numba alone raises "cannot cache function: no locator available" here (its issues 4908 and 5566).
    shutil.copytree(PACKAGE, tmp_path / "dvsprep", ignore=shutil.ignore_patterns("__pycache__"))
    before = sorted(tmp_path.rglob("*"))
    env = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR")}
    env |= {"PYTHONPATH": str(tmp_path), "DVSPREP_ROOT": str(tmp_path / "root")}
    if home:
        env["HOME"] = str(tmp_path / home)
    else:
        env["XDG_CACHE_HOME"] = str(tmp_path / "cache")  # else the home folder comes from the password file
    folders = [tmp_path, *(p for p in before if p.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        command = [sys.executable, "-c", POWERLESS, CODE]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["False", str(tmp_path / "dvsprep" / "__init__.py"), "5"]
    assert sorted(tmp_path.rglob("*")) == before, "nothing was written"


def test_division_by_zero_follows_numpy():
    def divide(a, b):
        return a / b

    assert np.isinf(jit.kernel(divide)(1.0, 0.0))


def test_numba_starts_without_scipy_and_a_users_function_finds_it_all_the_same():
    pytest.importorskip("scipy", reason="without SciPy there is nothing that could be imported")
    code = """
import sys
from dvsprep import jit
import numba, numpy as np
print([name for name in sys.modules if name.startswith("scipy")])
a = np.array([[2.0, 1.0], [0.0, 4.0]])
product = numba.njit(lambda a: np.dot(a, a))(a)
assert np.array_equal(product, a @ a), product
print("scipy.linalg" in sys.modules, numba.np.arraymath._HAVE_BLAS)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[:2] == ["[]", "True True"]


@pytest.mark.parametrize("before", [True, False], ids=["collecting", "not collecting"])
def test_garbage_is_collected_again_after_numba_started_if_it_was_before(before):
    was = gc.isenabled()
    (gc.enable if before else gc.disable)()
    try:
        with jit._uncollected():
            assert not gc.isenabled()
        assert gc.isenabled() is before
    finally:
        (gc.enable if was else gc.disable)()
