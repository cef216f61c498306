"""Every kernel compiles for every kind of GPU, by NVIDIA's own compiler; no GPU is needed."""

from __future__ import annotations

import re

import pytest

from minran.backend.gpu import activation, augment, engine, launch, loss, norm, pool, resize
from minran.backend.gpu.launch import Program

nvrtc = pytest.importorskip(
    "cuda.bindings.nvrtc", reason="needs cuda-bindings and nvidia-cuda-nvrtc-cu12"
)

SHORT_PLAIN, SHORT_TENSOR = (
    Program("conv.cu", (), [name for name in engine.SHORT.instances if kind in name])
    for kind in ("Simt", "Tf32")
)

PROGRAMS = [
    activation._ELEMENTWISE,
    activation._ATTENTION,
    augment._PROGRAM,
    loss._LOSS,
    loss._OPTIM,
    norm._PROGRAM,
    pool._PROGRAM,
    resize._PROGRAM,
    engine.PLAIN,
    launch.CONVERT,
    SHORT_PLAIN,
]
ARCHITECTURES = (75, 80, 86, 89, 90)

# These calculate in double on purpose, for float arrays too: sums over pixels, and a few numbers
# for each channel.
IN_DOUBLE = re.compile(
    "moments|sums|cross_entropy(?!_backward)|scale_and_shift|batch_statistics|batch_norm"
)
ARITHMETIC_IN_DOUBLE = re.compile(r"\b(add|sub|mul|fma|div|sqrt|rcp|neg|max|min|setp)\.\S*f64")


@pytest.fixture(scope="module", autouse=True)
def _library() -> None:
    try:
        nvrtc.nvrtcVersion()
    except RuntimeError as error:
        pytest.skip(f"needs nvidia-cuda-nvrtc-cu12: {str(error).splitlines()[0]}")


def compile_ptx(source: str, instances: tuple[str, ...], architecture: int) -> str:
    """PTX of the instances; NVRTC has made machine code of it, too."""
    _, program = nvrtc.nvrtcCreateProgram(source.encode(), b"kernels.cu", 0, [], [])
    for name in instances:
        nvrtc.nvrtcAddNameExpression(program, name.encode())
    options = [f"--gpu-architecture=sm_{architecture}".encode(), b"-std=c++17"]
    (result,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
    if result != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        _, size = nvrtc.nvrtcGetProgramLogSize(program)
        log = b" " * size
        nvrtc.nvrtcGetProgramLog(program, log)
        pytest.fail(f"sm_{architecture}: {log.decode()}")
    _, size = nvrtc.nvrtcGetPTXSize(program)
    ptx = b" " * size
    nvrtc.nvrtcGetPTX(program, ptx)
    return ptx.decode()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.file)
def test_compiles(program: Program, architecture: int) -> None:
    assert compile_ptx(program.source, program.instances, architecture).count(".entry") == len(
        program.instances
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES[1:])
@pytest.mark.parametrize("program", [engine.TENSOR, SHORT_TENSOR], ids=["float", "bfloat16"])
def test_tensor_cores_compile(program: Program, architecture: int) -> None:
    # The engines differ in sizes alone: all of them for one GPU, the largest for the others.
    every = program.instances
    instances = every if architecture == 80 else tuple(name for name in every if "128, 64" in name)
    ptx = compile_ptx(program.source, instances, architecture)
    assert ptx.count(".entry") == len(instances) >= 3
    assert "mma.sync" in ptx


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.file)
def test_float_kernels_do_not_calculate_in_double(program: Program) -> None:
    """A forgotten `1.0` would make a kernel many times slower on most GPUs."""
    names = tuple(name for name in program.instances if "double" not in name)
    for kernel in compile_ptx(program.source, names, 75).split(".entry ")[1:]:
        name, body = kernel.split("(", 1)
        assert IN_DOUBLE.search(name) or not ARITHMETIC_IN_DOUBLE.search(body), name


def test_arithmetic_in_double_is_found() -> None:
    source = "__global__ void half(float* x) { x[0] = x[0] * 0.1; }"
    assert ARITHMETIC_IN_DOUBLE.search(compile_ptx(source, ("half",), 75))


def test_tensor_cores_read_four_numbers_at_once() -> None:
    instances = tuple(name for name in engine.TENSOR.instances if "128, 64, 16>, 4" in name)
    assert "ld.global.v4.f32" in compile_ptx(engine.TENSOR.source, instances, 90)
    instances = tuple(name.replace(", float>", ", bfloat16>") for name in instances)
    assert "ld.global.v4.u16" in compile_ptx(engine.SHORT.source, instances, 90)


def test_an_error_is_found() -> None:
    with pytest.raises(pytest.fail.Exception, match="half_a_kernel"):
        compile_ptx("__global__ void broken() { half_a_kernel(); }", ("broken",), 90)
