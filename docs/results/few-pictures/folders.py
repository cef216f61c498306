"""Few of the built-in shapes as folders of PNG files: `python folders.py OUT`."""

import sys
from pathlib import Path

from PIL import Image

from minran.data import load_shapes

for classes, each in ((2, 10), (3, 50), (10, 200)):
    for split, most in (("train", each), ("test", 100)):
        data, counts = load_shapes(split, 3000), [0] * 10
        for picture, label in zip(data.images, data.labels, strict=True):
            if label < classes and counts[label] < most:
                counts[label] += 1
                folder = Path(sys.argv[1], str(classes * each), split, data.class_names[label])
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(folder / f"{counts[label]:03d}.png")
        assert counts[:classes] == [most] * classes, counts
