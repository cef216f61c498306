"""Single modules of `minran.train` where the package as a whole cannot be imported.

Training writes checkpoints, progress bars and more, so `import minran.train` needs safetensors
and tqdm. A GPU machine may have CuPy, PyTorch and NumPy and nothing else; the modules that the
bench wants need nothing else, and are then loaded without their siblings.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import minran


def training_module(name: str) -> ModuleType:
    """`minran.train.NAME`, alone if the rest of `minran.train` lacks a package."""
    try:
        return importlib.import_module(f"minran.train.{name}")
    except ImportError:
        return load_file(f"minran_train_{name}", f"train/{name}.py")


def load_file(name: str, file: str) -> ModuleType:
    """The file of this package, as a module called `name`. Raises ImportError."""
    path = Path(minran.__file__).parent / file
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except OSError as error:
        raise ImportError(f"{path} cannot be read ({error.strerror})") from error
    return module
