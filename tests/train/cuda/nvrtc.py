"""NVIDIA's run-time compiler without a GPU or a driver: the kernels for real devices, and what they take of them."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import struct
from pathlib import Path
from typing import NamedTuple

Variant = tuple[str, ...]


class CompileError(Exception):
    """What the compiler says, with file and line."""


class Usage(NamedTuple):
    """What a kernel takes of a multiprocessor."""

    registers: int  # a thread
    stack: int  # bytes a thread of local memory: spilled registers, and arrays that do not fit into registers
    shared: int  # bytes a block


def folder_of(package: str) -> Path | None:
    """Return the folder of one of NVIDIA's packages, None if it is not installed."""
    try:
        spec = importlib.util.find_spec(f"nvidia.{package}")
    except ModuleNotFoundError:
        return None
    return Path(next(iter(spec.submodule_search_locations or []))) if spec else None


@functools.cache
def library() -> ctypes.CDLL:
    """Return libnvrtc."""
    folder = folder_of("cuda_nvrtc")
    assert folder, "the package nvidia-cuda-nvrtc-cu12 is not installed"
    (path,) = folder.glob("lib/libnvrtc.so.*[0-9]")
    return ctypes.CDLL(str(path))


def architectures() -> list[int]:
    """Return the compute capabilities that this compiler knows, as 75 for 7.5."""
    count = ctypes.c_int()
    _check(library().nvrtcGetNumSupportedArchs(ctypes.byref(count)))
    values = (ctypes.c_int * count.value)()
    _check(library().nvrtcGetSupportedArchs(values))
    return list(values)


def compile_text(text: str, options: Variant, architecture: str) -> bytes:
    """Return a cubin for "sm_80", PTX for "compute_80".

    Raises
    ------
    CompileError
        With the compiler's log.
    """
    headers = folder_of("cuda_runtime")
    assert headers, "the package nvidia-cuda-runtime-cu12 is not installed"
    program, lib = ctypes.c_void_p(), library()
    _check(lib.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"neuron.cu", 0, None, None))
    try:
        words = [o.encode() for o in (f"-arch={architecture}", *options, f"-I{headers / 'include'}")]
        result = lib.nvrtcCompileProgram(program, len(words), (ctypes.c_char_p * len(words))(*words))
        if result:
            raise CompileError(_read(program, "ProgramLog").decode().rstrip("\0\n"))
        return _read(program, "CUBIN" if architecture.startswith("sm_") else "PTX")
    finally:
        lib.nvrtcDestroyProgram(ctypes.byref(program))


def _read(program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _check(getattr(library(), f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _check(getattr(library(), f"nvrtcGet{what}")(program, buffer))
    return buffer.raw


def _check(result: int) -> None:
    if result:
        raise CompileError(f"NVRTC error {result}")


# A cubin is an ELF file. For each kernel there is a section .nv.info.<kernel>, and in .nv.info a list of records
# (format 1 byte, attribute 1 byte, size 2 bytes, values); EIATTR numbers as in NVIDIA's cuobjdump -elf.
_SIZED, _FRAME_SIZE, _REGISTERS = 4, 0x11, 0x2F


def usage(cubin: bytes) -> dict[str, Usage]:
    """Return what every kernel of a cubin takes, from its ELF sections."""
    sections = _sections(cubin)
    symbols = _symbols(cubin, sections)
    stack, registers = {}, {}
    info, at = sections[".nv.info"], 0
    while at < len(info):
        kind, attribute, size = struct.unpack_from("<BBH", info, at)
        at += 4
        if kind != _SIZED:
            continue
        if attribute in (_FRAME_SIZE, _REGISTERS):
            symbol, value = struct.unpack_from("<II", info, at)
            (stack if attribute == _FRAME_SIZE else registers)[symbols[symbol]] = value
        at += size
    names = [name.removeprefix(".text.") for name in sections if name.startswith(".text.")]
    shared = {name: len(sections.get(f".nv.shared.{name}", b"")) for name in names}
    return {name: Usage(registers[name], stack[name], shared[name]) for name in names}


def _headers(cubin: bytes) -> list[tuple[int, ...]]:
    assert cubin[:5] == b"\x7fELF\x02", "not a 64-bit ELF file"
    (start,) = struct.unpack_from("<Q", cubin, 0x28)
    size, count = struct.unpack_from("<HH", cubin, 0x3A)
    return [struct.unpack_from("<IIQQQQIIQQ", cubin, start + i * size) for i in range(count)]


def _sections(cubin: bytes) -> dict[str, bytes]:
    """Return the sections by name; one without bytes in the file (shared memory) as zeros of its size."""
    headers = _headers(cubin)
    (names_at,) = struct.unpack_from("<H", cubin, 0x3E)
    names = cubin[headers[names_at][4] :]
    found = {}
    for name, kind, _, _, offset, size, *_ in headers:
        no_bits = 8
        found[_text(names, name)] = bytes(size) if kind == no_bits else cubin[offset : offset + size]
    return found


def _symbols(cubin: bytes, sections: dict[str, bytes]) -> list[str]:
    table, names = sections[".symtab"], sections[".strtab"]
    return [_text(names, struct.unpack_from("<I", table, at)[0]) for at in range(0, len(table), 24)]


def _text(table: bytes, at: int) -> str:
    return table[at : table.index(b"\0", at)].decode()
