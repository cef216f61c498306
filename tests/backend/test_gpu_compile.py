"""Every kernel compiles for every kind of GPU, by NVIDIA's own compiler; no GPU is needed."""

from __future__ import annotations

import functools
import re
from dataclasses import replace
from itertools import product

import pytest
from emulation.build import instances, of_engine

from minran.backend.gpu import cuda, engine
from minran.errors import BackendError

nvrtc = pytest.importorskip(
    "cuda.bindings.nvrtc", reason="needs cuda-bindings and nvidia-cuda-nvrtc-cu12"
)


def products(engines: list[engine.Engine], everywhere: bool = True) -> tuple[str, ...]:
    """The kernels of conv.cu with these engines, for all that may be known of the windows.

    With a norm; the last engine also without. The engines differ in sizes alone, which with the
    windows and the norm play no part in what is written for one kind of GPU: unless `everywhere`,
    it is the largest engine once with a norm, and once without for another window.
    """
    if everywhere:
        every = [replace(each, normed=True) for each in engines] + engines[-1:]
        every = [replace(each, window=window) for each in every for window in WINDOWS]
    else:
        every = [replace(engines[-1], normed=True), replace(engines[-1], window="POINTWISE")]
    return tuple(name for each in every for name in of_engine(each.template))


def tensor_cores(maps: str, pieces: tuple[int, ...]) -> list[engine.Engine]:
    low = [engine._tensor(64, *sizes, maps) for sizes in product((16, 32, 64), pieces)]
    shared = [
        engine._tensor(64, columns, pieces[-1], maps, parts)
        for columns, parts in ((16, 2), (32, 2), (32, 4), (64, 2), (64, 4))
    ]
    tall = [engine._tensor(128, columns, pieces[-1], maps) for columns in (16, 32, 64)]
    return low + shared + tall


WINDOWS = "ANY", "UNIT_STRIDE", "POINTWISE"
SIMT = [engine._simt("float", *sizes) for sizes in product((16, 64), (1, 4))]
SHORT_SIMT = [replace(each, maps="bfloat16") for each in [*SIMT, engine._simt("float", 64, 8)]]
TENSOR = tensor_cores("float", (1, 4))
SHORT_TENSOR = [engine._tensor(128, 64, 4, "bfloat16"), *tensor_cores("bfloat16", (1, 8))]
FILES = [file.name for file in sorted(cuda._FOLDER.glob("*.cu"))]
PLAIN = {
    "plain products": [engine._simt("double", 16, 1), *SIMT],
    "plain products of bfloat16": SHORT_SIMT,
}
PROGRAMS = {file: (file, instances(file)) for file in FILES} | {
    name: ("conv.cu", products(engines)) for name, engines in PLAIN.items()
}
ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
OPTIONS = "-std=c++17", "-ftz=true", "--device-as-default-execution-space"
"""Those of CuPy too, which it adds to every program."""

# These calculate in double on purpose, for float arrays too: sums over pixels, and a few numbers
# for each channel.
IN_DOUBLE = re.compile(
    "moments|sums|sum_gradients|cross_entropy(?!_backward)|scale_and_shift|finish_norm|batch_norm|"
    "conv_input.*true"  # with a norm
)
ARITHMETIC_IN_DOUBLE = re.compile(r"\b(add|sub|mul|fma|div|sqrt|rcp|neg|max|min|setp)\.\S*f64")


@pytest.fixture(scope="module", autouse=True)
def _library() -> None:
    try:
        nvrtc.nvrtcVersion()
    except RuntimeError as error:
        pytest.skip(f"needs nvidia-cuda-nvrtc-cu12: {str(error).splitlines()[0]}")


@functools.cache
def compile_ptx(source: str, names: tuple[str, ...], architecture: int) -> dict[str, str]:
    """PTX of each instance; NVRTC has made machine code of it, too."""
    _, program = nvrtc.nvrtcCreateProgram(source.encode(), b"kernels.cu", 0, [], [])
    for name in names:
        nvrtc.nvrtcAddNameExpression(program, name.encode())
    options = [each.encode() for each in (f"--gpu-architecture=sm_{architecture}", *OPTIONS)]
    (result,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
    if result != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        _, size = nvrtc.nvrtcGetProgramLogSize(program)
        log = b" " * size
        nvrtc.nvrtcGetProgramLog(program, log)
        pytest.fail(f"sm_{architecture}: {log.decode()}")
    _, size = nvrtc.nvrtcGetPTXSize(program)
    ptx = b" " * size
    nvrtc.nvrtcGetPTX(program, ptx)
    entries = dict(entry.split("(", 1) for entry in ptx.decode().split(".entry ")[1:])
    assert len(entries) == len(names)
    lowered = (nvrtc.nvrtcGetLoweredName(program, name.encode())[1].decode() for name in names)
    return {name: entries[short] for name, short in zip(names, lowered, strict=True)}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_compiles(program: str, architecture: int) -> None:
    file, names = PROGRAMS[program]
    if program in PLAIN and architecture != 75:
        names = products(PLAIN[program], everywhere=False)
    assert compile_ptx(cuda.source(file), names, architecture)


@pytest.mark.parametrize("architecture", ARCHITECTURES[1:])
@pytest.mark.parametrize("engines", [TENSOR, SHORT_TENSOR], ids=["float", "bfloat16"])
def test_tensor_cores_compile(engines: list[engine.Engine], architecture: int) -> None:
    names = products(engines, everywhere=architecture == 80)
    compiled = compile_ptx(cuda.source("conv.cu"), names, architecture)
    assert compiled and all("mma.sync" in body for body in compiled.values())


@pytest.mark.parametrize("program", PROGRAMS)
def test_float_kernels_do_not_calculate_in_double(program: str) -> None:
    """A forgotten `1.0` would make a kernel many times slower on most GPUs."""
    file, names = PROGRAMS[program]
    for name, body in compile_ptx(cuda.source(file), names, 75).items():
        known = "double" in name or IN_DOUBLE.search(name)
        assert known or not ARITHMETIC_IN_DOUBLE.search(body), name


def test_arithmetic_in_double_is_found() -> None:
    source = "__global__ void half(float* x) { x[0] = x[0] * 0.1; }"
    assert ARITHMETIC_IN_DOUBLE.search(compile_ptx(source, ("half",), 75)["half"])


def test_tensor_cores_read_sixteen_bytes_at_once() -> None:
    for engines, kind in ((TENSOR, "tf32"), (SHORT_TENSOR, "bf16")):
        compiled = compile_ptx(cuda.source("conv.cu"), products(engines, everywhere=False), 90)
        ptx = "".join(compiled.values())
        assert re.search(r"ld\.global\.v4\.[ubf]32", ptx)
        assert f"{kind}.{kind}" in ptx and "ldmatrix" in ptx


def test_an_error_is_found() -> None:
    with pytest.raises(pytest.fail.Exception, match="half_a_kernel"):
        compile_ptx("__global__ void broken() { half_a_kernel(); }", ("broken",), 90)


def test_what_does_not_compile_is_said() -> None:
    with pytest.raises(
        BackendError, match=r"(?s)elementwise.cu does not compile for sm_90.*nothing"
    ):
        cuda.compiled("elementwise.cu", ["add<nothing, 1>"], 90)
