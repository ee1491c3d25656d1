"""NVIDIA's own compiler takes the kernels for real devices, and they keep within a multiprocessor's registers."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import nvrtc
import pytest
import torch
from cuda_cpu import kernel_of
from nvrtc import CompileError, Usage, Variant
from standin_cupy import every_variant

from train import surrogate
from train.backends import NeuronSpec
from train.backends.cupy import BLOCK, DERIVATIVES, IO, options

pytestmark = pytest.mark.skipif(
    not (nvrtc.folder_of("cuda_nvrtc") and nvrtc.folder_of("cuda_runtime")),
    reason="NVIDIA's compiler is installed by dvsprep[dev] on Linux x86_64 only",
)

KINDS = ("if", "lif", "plif")
CELLS = [
    ("if", None, True),
    *(("lif", tau, decay_input) for tau in (2.0, 1.7) for decay_input in (True, False)),
    *(("plif", None, decay_input) for decay_input in (True, False)),
]
# Limits of one block on every device from 7.5 on (CUDA programming guide, "Technical specifications").
REGISTERS_OF_A_BLOCK, REGISTERS_OF_A_THREAD, SHARED = 65536, 255, 48 << 10


def architectures() -> list[str]:
    """Turing, Ampere, Hopper, and the newest that the compiler knows."""
    return ["sm_75", "sm_80", "sm_90", f"sm_{nvrtc.architectures()[-1]}"]


def chosen() -> list[tuple[Variant, str]]:
    """Return variants and devices in which every two values of two switches meet; all of them are in the slow test."""
    found = []
    arches, dtypes = architectures(), list(IO)
    for (i, name), (j, (kind, tau, decays)) in itertools.product(enumerate(DERIVATIVES), enumerate(CELLS)):
        hard, detach = divmod((j + i // 4) % 4, 2)
        spec = NeuronSpec(kind, surrogate.get(name), 1.0, 0.0 if hard else None, tau, decays, bool(detach))  # type: ignore[arg-type]
        found.append((options(spec, dtypes[(i + j) % 3], backward=True), arches[(i + j) % 4]))
    forwards = itertools.product(CELLS, (0.0, None), dtypes)
    for k, ((kind, tau, decays), v_reset, dtype) in enumerate(forwards):
        spec = NeuronSpec(kind, surrogate.ATan(), 1.0, v_reset, tau, decays)  # type: ignore[arg-type]
        found.append((options(spec, dtype, backward=False), arches[(k + k // 6) % 4]))
    return found


def check(text: str, variant: Variant, architecture: str) -> str | None:
    """Return what is wrong with a variant on a device, None if nothing is."""
    where = f"{' '.join(variant)} for {architecture}"
    try:
        ((name, used),) = nvrtc.usage(nvrtc.compile_text(text, variant, architecture)).items()
    except CompileError as error:
        return f"{where}: {error}"
    if name != kernel_of(variant):
        return f"{where}: holds {name}"
    if used.stack:
        return (
            f"{where}: {used.stack} bytes of local memory a thread: registers are spilled, or an array is not in them"
        )
    per_block = used.registers * BLOCK
    if used.registers > REGISTERS_OF_A_THREAD or per_block > REGISTERS_OF_A_BLOCK or used.shared > SHARED:
        return f"{where}: cannot be launched: {used}"
    return None


def check_all(text: str, jobs: list[tuple[Variant, str]]) -> list[str]:
    with ThreadPoolExecutor(2) as pool:
        return [found for found in pool.map(lambda job: check(text, *job), jobs) if found]


def test_variants_in_which_all_pairs_meet_compile_without_spills(text: str) -> None:
    assert check_all(text, chosen()) == []


def test_all_pairs_meet() -> None:
    def pairs(jobs: list[tuple[Variant, str]]) -> set[tuple[str, str]]:
        return {pair for variant, arch in jobs for pair in itertools.combinations((*variant, arch), 2)}

    everything = [v for dtype in IO for kind in KINDS for v in every_variant(dtype, kind)]
    for kernel in ("forward", "backward"):
        wanted = [(v, arch) for v in everything for arch in architectures() if kernel_of(v) == kernel]
        assert pairs([job for job in chosen() if kernel_of(job[0]) == kernel]) == pairs(wanted), kernel


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", IO, ids=str)
@pytest.mark.parametrize("which", range(4), ids=["sm_75", "sm_80", "sm_90", "newest"])
def test_every_variant_compiles_without_spills(text: str, which: int, dtype: torch.dtype, kind: str) -> None:
    jobs = [(variant, architectures()[which]) for variant in every_variant(dtype, kind)]
    assert check_all(text, jobs) == []


SPILLS = """
extern "C" __global__ void spills(float* x, int n) {
    float kept[64];
    for (int i = 0; i < 64; ++i) kept[i] = x[i * n];
    for (int i = 0; i < n; ++i) x[i] = kept[(i * 7 + n) % 64];
}"""


def test_a_kernel_that_spills_is_seen() -> None:
    used = nvrtc.usage(nvrtc.compile_text(SPILLS, (), "sm_80"))["spills"]
    assert used.stack == 64 * 4


def test_shared_memory_and_registers_are_read_from_the_cubin(text: str) -> None:
    spec = NeuronSpec("plif", surrogate.ATan())
    used = nvrtc.usage(nvrtc.compile_text(text, options(spec, torch.float32, backward=True), "sm_80"))["backward"]
    assert used == Usage(registers=used.registers, stack=0, shared=BLOCK * 8)
    assert 16 <= used.registers <= 64  # 4 blocks of 256 threads on a multiprocessor at the least


def test_an_error_names_the_line(text: str) -> None:
    broken = text.replace("float v = v_first[n];", "flaot v = v_first[n];")
    line = broken[: broken.index("flaot")].count("\n") + 1
    variant = options(NeuronSpec("if", surrogate.ATan()), torch.float32, backward=False)
    with pytest.raises(CompileError, match=rf'neuron\.cu\({line}\): error: identifier "flaot" is undefined'):
        nvrtc.compile_text(broken, variant, "sm_80")


def test_nothing_is_contracted(text: str) -> None:
    variant = options(NeuronSpec("lif", surrogate.ATan(), tau=2.0), torch.float32, backward=False)
    fused = re.compile(r"\bfma\.rn\.f32")
    assert not fused.search(nvrtc.compile_text(text, variant, "compute_80").decode())
    contracted = tuple(o for o in variant if o != "--fmad=false")
    assert fused.search(nvrtc.compile_text(text, contracted, "compute_80").decode()), "the check cannot fail"


def test_the_true_cupy_has_what_the_engine_and_the_stand_in_use() -> None:
    # In a process of its own: what CuPy loads stays loaded, and other tests pretend that there is none.
    program = """
import cupy, inspect
assert int(cupy.__version__.split(".")[0]) >= 13
module = cupy.RawModule(code="", options=("-DIO=0",))
assert callable(module.get_function)
assert {"__enter__", "__exit__"} <= set(dir(cupy.cuda.Device)) & set(dir(cupy.cuda.ExternalStream))
assert callable(cupy.cuda.runtime.getDeviceCount)
try:
    cupy.RawModule(code="", options=["-DIO=0"])
except TypeError:
    print("checked")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "checked\n", done.stderr
