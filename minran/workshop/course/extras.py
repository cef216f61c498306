"""The packages of the `notebooks` extra, imported only when something needs them."""

from __future__ import annotations

import importlib
from typing import Any

from minran.errors import MinranError


def need(module: str) -> Any:
    """Import jupytext, nbformat or nbclient; MinranError says what to install if it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise MinranError(
            f'this needs {package}, which is not installed: pip install "minran[notebooks]"'
        ) from error
