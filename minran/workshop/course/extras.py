"""The packages of the `notebooks` extra, imported only when something needs them."""

from __future__ import annotations

from typing import Any

from minran.errors import MinranError, import_extra


def need(module: str) -> Any:
    """Import jupytext, nbformat or nbclient; MinranError says what to install if it is missing."""
    needs = f"this needs {module.split('.')[0]}, which is not installed"
    return import_extra(module, "notebooks", needs, MinranError)
