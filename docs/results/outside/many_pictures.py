"""Reading a folder of pictures, beside PyTorch's DataLoader: pictures a second, and memory.

python docs/results/outside/many_pictures.py make FOLDER 20000
python docs/results/outside/many_pictures.py memory FOLDER
python docs/results/outside/many_pictures.py speed FOLDER ROUNDS
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from minran import machine
from minran.data import Loader, Preprocess, load_folder

SIZE, BATCH, WORKERS, BATCHES = 224, 64, 2, 16
MEAN = np.full((SIZE, SIZE, 3), 120, np.float32)


def make(root: Path, count: int, part: int) -> None:
    """JPEG files of 400 x 320 pixels: noise of 30 x 24 (seed `part`), enlarged."""
    rng = np.random.default_rng(part)
    for n in range(part, count, 20):
        small = Image.fromarray(rng.integers(0, 256, (24, 30, 3), dtype=np.uint8))
        folder = root / f"class{n % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        large = small.resize((400, 320), Image.Resampling.BICUBIC)
        large.save(folder / f"{n:05}.jpg", quality=85)


def loader(root: Path) -> Loader:
    """The training loader of the package: pad, crop, flip; the mean off; divided by 64."""
    data = load_folder(root, SIZE, memory=0)
    prepare = Preprocess(MEAN)
    return Loader(data, BATCH, prepare, augment="paper", shuffle=True, drop_last=True)


def memory(root: Path) -> list[dict[str, float]]:
    """Resident memory in MiB along an epoch over all pictures."""
    start, rows = time.perf_counter(), []
    batches = loader(root)
    surveyed = time.perf_counter() - start
    for number, _ in enumerate(batches.epoch(0), 1):
        if number % 26 == 0 or number == len(batches):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            rows.append({"pictures": number * BATCH, "mib": round(pages * 4096 / 2**20)})
    seconds = time.perf_counter() - start - surveyed
    return [{"survey_seconds": round(surveyed, 1), "epoch_seconds": round(seconds, 1)}, *rows]


class Files:
    """The same transforms for PyTorch, picture by picture, in its Dataset's form."""

    def __init__(self, root: Path) -> None:
        self.files = sorted(root.rglob("*.jpg"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int):
        import torch

        with Image.open(self.files[index]) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGB")
            picture = ImageOps.fit(picture, (SIZE, SIZE), Image.Resampling.LANCZOS)
        padded = np.pad(np.asarray(picture), ((4, 4), (4, 4), (0, 0)))
        top, left, mirrored = torch.randint(9, (1,)), torch.randint(9, (1,)), torch.rand(1)
        cut = padded[top : top + SIZE, left : left + SIZE]
        cut = cut[:, ::-1] if mirrored < 0.5 else cut
        x = (cut.astype(np.float32) - MEAN) / np.float32(64)
        return torch.from_numpy(x), index % 10


def speed(root: Path, rounds: int) -> list[dict[str, float]]:
    """Pictures a second of both, one after the other in each round, from the fifth batch on."""
    from torch.utils.data import DataLoader

    ours = loader(root)
    theirs = DataLoader(
        Files(root), BATCH, shuffle=True, num_workers=WORKERS, drop_last=True, prefetch_factor=2
    )
    found = []
    for number in range(rounds):
        row = {}
        for name in sorted(("minran", "torch"), reverse=number % 2 == 1):
            batches = ours.epoch(number) if name == "minran" else iter(theirs)
            # As many batches as lie ready at the start are not counted.
            for _ in islice(batches, 4):
                pass
            start = time.perf_counter()
            for _ in islice(batches, BATCHES):
                pass
            row[name] = round(BATCHES * BATCH / (time.perf_counter() - start), 1)
            del batches
        row["ratio"] = round(row["minran"] / row["torch"], 3)
        print(row, flush=True)
        found.append(row)
    return found


if __name__ == "__main__":
    task, root = sys.argv[1], Path(sys.argv[2])
    if task == "make":
        with ProcessPoolExecutor(WORKERS) as pool:
            list(pool.map(make, [root] * 20, [int(sys.argv[3])] * 20, range(20)))
    else:
        rows = memory(root) if task == "memory" else speed(root, int(sys.argv[3]))
        print(json.dumps({**machine.facts(), "rows": rows}, indent=1))
