"""Instructions in the main loops of conv.cu, counted from what NVIDIA's compiler makes: JSON.

Needs no GPU: `pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm`, and minran's extra `test`.
"""

from __future__ import annotations

import json
import re
import site
import subprocess
import tempfile
from pathlib import Path

from cuda.bindings import nvrtc

from minran import machine
from minran.backend.gpu import cuda, engine

ARCHITECTURE = 90
TILES = {
    "conv_forward": [(64, 16), (64, 64), (128, 64)],
    "conv_input": [(64, 16), (64, 64), (128, 64)],
    "conv_filters": [(64, 16), (64, 64), (128, 64)],
}
OPTIONS = "-std=c++17", "-ftz=true", "--device-as-default-execution-space"


def compiled(names: list[str]) -> tuple[bytes, dict[str, str]]:
    """The machine code of these instances, and their names by those in it."""
    source = cuda.source("conv.cu").encode()
    _, program = nvrtc.nvrtcCreateProgram(source, b"conv.cu", 0, [], [])
    for name in names:
        nvrtc.nvrtcAddNameExpression(program, name.encode())
    options = [each.encode() for each in (f"-arch=sm_{ARCHITECTURE}", *OPTIONS)]
    (result,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
    assert result == nvrtc.nvrtcResult.NVRTC_SUCCESS, result
    _, size = nvrtc.nvrtcGetCUBINSize(program)
    code = b" " * size
    nvrtc.nvrtcGetCUBIN(program, code)
    lowered = {nvrtc.nvrtcGetLoweredName(program, n.encode())[1].decode(): n for n in names}
    return code, lowered


def disassembled(code: bytes) -> str:
    """What cuobjdump says."""
    folders = [Path(each, "nvidia", "cu13", "bin") for each in site.getsitepackages()]
    folder = next(each for each in folders if (each / "cuobjdump").exists())
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        command = [str(folder / "cuobjdump"), "-sass", file.name]
        run = subprocess.run(
            command, capture_output=True, text=True, check=True, env={"PATH": str(folder)}
        )
    return run.stdout


def main() -> None:
    """Of each instance the loop that multiplies: instructions, products; spills anywhere."""
    names = {
        f"{kernel}<{engine._tf32(*tile, 4).template}>": (kernel, tile)
        for kernel, tiles in TILES.items()
        for tile in tiles
    }
    code, lowered = compiled(list(names))
    kernels: dict[str, list[tuple[int, str]]] = {}
    for line in disassembled(code).splitlines():
        if found := re.search(r"Function : (\S+)", line):
            current = kernels[lowered[found[1]]] = []
        elif found := re.match(r"\s+/\*([0-9a-f]+)\*/\s+(.*?);", line):
            current.append((int(found[1], 16), found[2]))
    rows = []
    for name, (kernel, tile) in names.items():
        places = {address: number for number, (address, _) in enumerate(kernels[name])}
        texts = [text for _, text in kernels[name]]
        loops = []
        for number, (address, text) in enumerate(kernels[name]):
            back = re.search(r"\bBRA\b.*?0x([0-9a-f]+)", text)
            if back and int(back[1], 16) < address:
                loop = texts[places[int(back[1], 16)] : number + 1]
                loops.append((len(loop), sum("HMMA" in each for each in loop)))
        length, products = max(loop for loop in loops if loop[1])
        spills = sum("STL" in text or "LDL" in text for text in texts)
        rows.append({"kernel": kernel, "tile": f"{tile[0]}x{tile[1]}", "loop": length,
                     "HMMA": products, "spills": spills})  # fmt: skip
    version = nvrtc.nvrtcVersion()[1:]
    facts = machine.facts() | {"architecture": f"sm_{ARCHITECTURE}", "NVRTC": version}
    print(json.dumps({"environment": facts, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
