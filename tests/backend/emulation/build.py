"""Compile a kernel file for the CPU with g++ and the header `emulator.h`."""

from __future__ import annotations

import ctypes
import getpass
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

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
    text = _translation_unit(source, instances)
    name = hashlib.sha256(" ".join([text, *_FLAGS, optimisation]).encode()).hexdigest()[:24]
    folder = Path(tempfile.gettempdir()) / f"minran-emulation-{getpass.getuser()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    library = folder / f"{name}.so"
    if not library.exists():
        unit, part = folder / f"{name}.{os.getpid()}.cpp", folder / f"{name}.{os.getpid()}.part"
        unit.write_text(text)
        command = ["g++", *_FLAGS, optimisation, "-o", str(part), str(unit)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"g++ failed:\n{done.stderr}")
        part.replace(library)
        unit.unlink()
    return ctypes.CDLL(str(library))


def _translation_unit(source: str, instances: Sequence[str]) -> str:
    entries = "".join(
        f'  {{"{name}", emulator::signature({name}), emulator::entry<{name}>}},\n'
        for name in instances
    )
    return "\n".join(
        [
            (_HERE / "emulator.h").read_text(),
            source,
            f"static const emulator::Kernel kernels[] = {{\n{entries}}};",
            (_HERE / "host.cpp").read_text(),
        ]
    )
