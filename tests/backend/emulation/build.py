"""Compile a kernel file for the CPU with g++ and the header `emulator.h`."""

from __future__ import annotations

import ctypes
import getpass
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from minran.backend.gpu.cuda import source
from minran.errors import BackendError, expect

_HERE = Path(__file__).parent
_FLAGS = (
    "-std=c++17",
    "-fPIC",
    "-shared",
    "-fvisibility=hidden",
    # A product and a sum are two roundings on every processor; a GPU makes one of them.
    "-ffp-contract=off",
    # Libraries of two versions of a file must not share their __shared__ memory.
    "-fno-gnu-unique",
    "-Wall",
    "-Werror",
    "-Wno-unknown-pragmas",
    "-Wno-sign-compare",
)


def ensure_compiler() -> None:
    """Raise BackendError unless g++ is there."""
    expect(
        shutil.which("g++") is not None,
        "g++, which the emulated backend needs, is missing",
        BackendError,
    )


def build(source: str, instances: Sequence[str], optimisation: str = "-O1") -> ctypes.CDLL:
    """The library of a kernel file, from the cache if this very text was built before.

    Raises RuntimeError with what g++ says when it finds an error.
    """
    flags = *_FLAGS, optimisation
    # g++ reads the emulator and the standard library once, and not for every kernel file again.
    header = _made((_HERE / "emulator.h").read_text(), ".h.gch", (*flags, "-x", "c++-header"))
    text = _translation_unit(source, instances)
    library = _made(text, ".so", (*flags, "-include", str(header.with_suffix(""))))
    return ctypes.CDLL(str(library))


def _made(text: str, kind: str, flags: Sequence[str]) -> Path:
    """What g++ makes of a text, or has made of it before."""
    folder = Path(tempfile.gettempdir()) / f"minran-emulation-{getpass.getuser()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    name = hashlib.sha256(" ".join([text, *flags]).encode()).hexdigest()[:24]
    made = folder / f"{name}{kind}"
    if not made.exists():
        unit, part = folder / f"{name}.{os.getpid()}.cpp", folder / f"{name}.{os.getpid()}.part"
        unit.write_text(text)
        command = ["g++", *flags, "-o", str(part), str(unit)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"g++ failed:\n{done.stderr}")
        if kind == ".h.gch":  # a g++ of another version reads the header itself
            unit.replace(made.with_suffix(""))
        else:
            unit.unlink()
        part.replace(made)
    return made


ARGUMENTS = {
    "": (None,),
    "typename T": ("float", "double", "bfloat16"),
    "typename R": ("float", "double"),
    "typename T, int PIECE": (
        "float, 4",
        "float, 1",
        "double, 1",
        *(f"bfloat16, {piece}" for piece in (8, 4, 1)),
    ),
    "typename From, typename To": ("float, bfloat16", "bfloat16, float"),
}
"""What stands for the parameters of a kernel's template. An engine's kernels have their own."""

_KERNEL = re.compile(
    r"^(?:template <([^>]*)>\s+)?__global__ void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\(", re.M
)


@cache
def kernels(file: str) -> dict[str, str]:
    """By name: the template parameters of a file's kernels."""
    return {name: parameters for parameters, name in _KERNEL.findall(source(file))}


@cache
def instances(file: str) -> tuple[str, ...]:
    """All instances of a file's kernels, but for those with an engine."""
    return tuple(
        f"{name}<{arguments}>" if arguments else name
        for name, parameters in kernels(file).items()
        for arguments in ARGUMENTS.get(parameters, ())
    )


def of_engine(template: str) -> tuple[str, ...]:
    """The instances of the products of conv.cu with the same template arguments."""
    names = [name for name, parameters in kernels("conv.cu").items() if "Engine" in parameters]
    return tuple(f"{name}<{template}>" for name in names)


def siblings(file: str, kernel: str) -> tuple[str, ...]:
    """The instances that share a library with `kernel`."""
    every = instances(file)
    return every if kernel in every else of_engine(kernel.partition("<")[2][:-1])


def _translation_unit(source: str, instances: Sequence[str]) -> str:
    entries = "".join(
        f'  {{"{name}", emulator::signature({name}), emulator::entry<{name}>}},\n'
        for name in instances
    )
    return "\n".join(
        [
            source,
            f"static const emulator::Kernel kernels[] = {{\n{entries}}};",
            (_HERE / "host.cpp").read_text(),
        ]
    )
