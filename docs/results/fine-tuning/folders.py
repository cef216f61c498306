"""Folders of pictures from CIFAR-10: five classes in full, and 40 pictures each of the other five.

    python docs/results/fine-tuning/folders.py CIFAR OUT

OUT/first: all pictures of five classes; OUT/second: of the other five, 40 each to train on and all
test pictures. No class and no picture is in both.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from minran import data

FIRST = ("airplane", "bird", "deer", "frog", "ship")
FEW = 40

cifar, out = sys.argv[1:]
for split in ("train", "test"):
    pictures = data.load("cifar10", split, cifar)
    for label, name in enumerate(pictures.class_names):
        first = name in FIRST
        places = np.flatnonzero(pictures.labels == label)
        folder = Path(out, "first" if first else "second", split, name)
        folder.mkdir(parents=True)
        for place in places if first or split == "test" else places[:FEW]:
            Image.fromarray(pictures.images[place]).save(folder / f"{place:05d}.png")
