"""Pictures of 224 x 224 pixels in four classes, drawn here: `python folder.py OUT`."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

# Red fields, green stripes from top to bottom, yellow spots, blue stripes from left to right.
COLOURS = {
    "brick": (180, 60, 40),
    "grass": (50, 150, 50),
    "sand": (210, 190, 90),
    "water": (40, 90, 190),
}
y, x = np.mgrid[:224, :224]
rng = np.random.default_rng(0)

for split, each in (("train", 160), ("val", 20)):
    for kind, colour in COLOURS.items():
        folder = Path(sys.argv[1], split, kind)
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(each):
            period, start = rng.integers(16, 48), rng.integers(0, 48, 2)
            rows, columns = (y + start[0]) // period % 2, (x + start[1]) // period % 2
            centres = [(axis + start[n]) % period - period / 2 for n, axis in enumerate((y, x))]
            pattern = {
                "brick": rows ^ columns,
                "grass": columns,
                "sand": np.hypot(*centres) < 0.35 * period,
                "water": rows,
            }[kind]
            base = colour + rng.normal(0, 20, 3)
            light = rng.uniform(0.5, 0.9)  # how dark the second colour is
            picture = base * np.where(pattern == 1, 1, light)[..., None] + rng.normal(
                0, 10, (224, 224, 3)
            )
            Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(
                folder / f"{number:03d}.png"
            )
