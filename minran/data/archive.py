"""Open what came from outside with care: tar archives and CIFAR's pickled batches."""

from __future__ import annotations

import pickle
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from minran.errors import DataError


def extract(archive: Path, folder: str) -> Path:
    """Unpack the .tar.gz `archive`, whose content is one `folder`, beside it; return the folder.

    Only plain files and folders are written, below a temporary folder that is renamed at the end,
    so a half-unpacked folder is never seen. An entry that is a link or a device, or whose name
    leads outside, stops everything.

    Raises DataError naming the archive and the entry.
    """
    target = archive.parent / folder
    temporary = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=archive.parent))
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for entry in tar:
                _write_entry(tar, entry, temporary, archive.name)
        if not (temporary / folder).is_dir():
            raise DataError(f"{archive}: expected a folder {folder} in it, found none")
        (temporary / folder).rename(target)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DataError(f"{archive}: not a complete .tar.gz archive ({error})") from error
    except OSError as error:
        raise DataError(f"{archive}: cannot be unpacked to {target}: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _write_entry(
    tar: tarfile.TarFile, entry: tarfile.TarInfo, destination: Path, archive: str
) -> None:
    """Write one file or folder of an archive below `destination`, or raise DataError."""
    parts = PurePosixPath(entry.name).parts
    # "\\" and ":" mean nothing in a tar, but separate folders and drives on Windows.
    escapes = entry.name.startswith("/") or ".." in parts or any(c in entry.name for c in "\\:")
    if escapes:
        raise DataError(f"{archive}: entry {entry.name!r} leads outside the archive's folder")
    if not (entry.isfile() or entry.isdir()):
        raise DataError(f"{archive}: entry {entry.name!r} is neither a file nor a folder")
    path = destination.joinpath(*parts)
    if entry.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(entry)
    if content is None:
        raise DataError(f"{archive}: entry {entry.name!r} has no content")
    with content, path.open("xb") as file:
        shutil.copyfileobj(content, file)


def load_pickle(path: Path) -> dict[str, Any]:
    """Read a dictionary from a pickle that holds nothing but arrays, lists, numbers and strings.

    A pickle is a program: `pickle.load` runs whatever functions it names. This reader knows only
    the four names that rebuild a NumPy array, so a file that asks for any other is refused before
    it can do harm. Keys come as str, whichever Python wrote them.

    Raises DataError naming the file when it is damaged, refused or not a dictionary.
    """
    try:
        with path.open("rb") as file:
            content = _ArrayUnpickler(file, encoding="bytes").load()
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except Exception as error:  # A damaged pickle can raise nearly anything.
        raise DataError(
            f"{path}: not a readable pickle ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a dictionary, got {type(content).__name__}")
    return {k.decode("latin-1") if isinstance(k, bytes) else str(k): v for k, v in content.items()}


def _encode_latin1(text: str, encoding: str) -> bytes:
    """Stand in for _codecs.encode, with which Python 3 writes bytes into old pickles."""
    if encoding != "latin1":
        raise DataError(f"refused: bytes in the encoding {encoding!r}")
    return text.encode("latin-1")


# NumPy's own function that rebuilds an array, under the names that old and new versions give it.
_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode_latin1,
}


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler that can name nothing but what rebuilds a NumPy array."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise DataError(
                f"refused: the pickle asks for {module}.{name}, which no array needs"
            ) from None
