"""Pickles, archives, pictures and recipes of strangers, read where memory is really limited.

Each group runs in a process of its own whose address space may grow by 3 GB (five copies
of the largest picture): what is refused
there was refused in time. MINRAN_FUZZ multiplies the number of random changes and draws others
with it.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

FUZZ = int(os.environ.get("MINRAN_FUZZ", "1"))
pytest.importorskip("resource")
pytest.importorskip("PIL.Image")

BEGIN = """
import gzip, io, pickle, resource, struct, sys, tarfile, zlib
from pathlib import Path
import numpy as np
from PIL import Image
from minran.data import archive, read_pictures
from minran.data.archive import extract
from minran.data.unpickle import load_pickle
from minran.errors import MinranError
from minran.train import parse

folder, fuzz = Path(sys.argv[1]), int(sys.argv[2])
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 3072 * 1024**2
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
rng = np.random.default_rng(fuzz)

def attempt(read, must_fail=False):
    try:
        read()
    except MinranError as error:
        assert len(str(error)) < 3000, str(error)[:200]
        assert "MemoryError" not in str(error), error
    else:
        assert not must_fail, "was taken"

def damaged(content):
    changed = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(0, min(len(changed), 300) if rng.random() < 0.7 else len(changed)))
        changed[at : at + 1] = [b"", rng.bytes(1), rng.bytes(4), b"\\xff\\xff"][rng.integers(4)]
    return bytes(changed)
"""

PICKLES = """
bombs = [
    b"K\\x01r\\xff\\xff\\xff\\x0f.", b"K\\x01r\\xff\\xff\\xff\\xff.",
    b"\\x8b\\xff\\xff\\xff\\x7f", b"L" + b"9" * 10**6 + b"L\\n.",
    *(code + (1 << 62).to_bytes(8, "little") + b"x" for code in (b"\\x8d", b"\\x8e", b"\\x96")),
    b"\\x95" + b"\\xff" * 8, b"]" * 3_000_000 + b".", b"(" * 100_000,
    b"]" * 100_000 + b"a" * 99_999 + b".", b"}" + b")" + b"\\x85" * 100_000 + b"K\\x01s.",
    b"}" + b"X\\x01\\0\\0\\0a)" + b"\\x85" * 100_000 + b"K\\x01u.",
    b"]q\\0" + b"(" + b"h\\0" * 100_000 + b"e.",
]
for bomb in bombs:
    (folder / "b").write_bytes(bomb)
    attempt(lambda: load_pickle(folder / "b"), must_fail=True)
pixels = np.arange(60, dtype=np.uint8).reshape(4, 15)
for protocol in range(6):
    good = pickle.dumps({"data": pixels, b"labels": [1, 2, 3], "x": [b"a", None, 2**70]}, protocol)
    for _ in range(150 * fuzz):
        (folder / "b").write_bytes(damaged(good))
        attempt(lambda: load_pickle(folder / "b"))
"""

ARCHIVES = """
def members(*entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()

archive.MAX_BYTES = 1 << 26
block = bytes(1 << 20)
def endless(kind):
    entry = tarfile.TarInfo("top/x")
    entry.type, entry.size = kind, 7 << 30
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    parts = [packer.compress(entry.tobuf(tarfile.GNU_FORMAT))]
    parts += [packer.compress(block) for _ in range(80)]
    return b"".join(parts) + packer.flush()

for kind in (tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME):
    (folder / "a.tar.gz").write_bytes(endless(kind))
    attempt(lambda: extract(folder / "a.tar.gz", "top"), must_fail=True)
good = members(("top/a", b"1" * 600), ("top/b", b"2"))
for number in range(150 * fuzz):
    whole = gzip.compress(damaged(good)) if number % 2 else damaged(gzip.compress(good))
    (folder / "a.tar.gz").write_bytes(whole)
    attempt(lambda: extract(folder / "a.tar.gz", f"top"))
    for made in folder.glob("top/*"):
        made.unlink()
    if (folder / "top").exists():
        (folder / "top").rmdir()
left = sorted(path.name for path in folder.iterdir())
assert left == ["a.tar.gz"], left
"""

PICTURES = """
def chunk(kind, content):
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

def png(width, height, *chunks):
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", head) + b"".join(chunks) + chunk(b"IEND", b"")

zeros = zlib.compress(bytes(300_000_000), 9)
for bomb in (
    png(50_000, 50_000, chunk(b"IDAT", zeros)),
    png(9, 9, chunk(b"iCCP", b"x\\0\\0" + zeros)),
    png(9, 9, chunk(b"zTXt", b"x\\0\\0" + zeros)),
    png(9, 9, chunk(b"iTXt", b"x\\0\\1\\0\\0\\0" + zeros)),
    b"P2 9 9 255 " + b"9" * 10**6,
    b"P5 90000 90000 65535\\n",
    b"II*\\0\\x08\\0\\0\\0\\x01\\0" + struct.pack("<HHII", 256, 4, 2**31, 8) + bytes(4),
):
    (folder / "x.png").write_bytes(bomb)
    attempt(lambda: read_pictures([folder / "x.png"]), must_fail=True)
picture = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM", "WEBP"):
    out = io.BytesIO()
    picture.save(out, kind)
    for _ in range(40 * fuzz):
        (folder / "x.png").write_bytes(damaged(out.getvalue()))
        attempt(lambda: read_pictures([folder / "x.png"], 8))
"""

RECIPES = """
good = b'''name = "x"
seed = 3
[model]
name = "attention_nano"
options = { widths = [8, 8], learning = "naive" }
[training]
epochs = 2
batch_size = 4
'''
for _ in range(1500 * fuzz):
    attempt(lambda: parse(damaged(good).decode("utf-8", "surrogateescape")))
"""


@pytest.mark.parametrize(
    "group",
    [PICKLES, ARCHIVES, PICTURES, RECIPES],
    ids=["pickles", "archives", "pictures", "recipes"],
)
def test_files_of_strangers_in_bounded_memory(tmp_path, group):
    child = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BEGIN + group, str(tmp_path), str(FUZZ)],
        capture_output=True,
        text=True,
        timeout=300 * FUZZ,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "MINRAN_NUM_THREADS": "1"},
    )
    assert child.returncode == 0, child.stderr[-2000:]
