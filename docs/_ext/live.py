"""The live page of the site: minran's page, with the networks run by onnxruntime in the browser.

`write` puts the page, networks that minran exports, the built-in pictures and onnxruntime-web into
one folder, which Sphinx copies into the site. onnxruntime-web comes from the npm registry, in the
version and with the hash that stand here; nothing is loaded from elsewhere when the page is open.
Where there is no npm or no onnx, the page shows a picture and says so.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

import minran
from minran.inspect.masks import module_title
from minran.live import Shown, load_network, look
from minran.live.server import COMPARED, first_pictures, setup

RUNTIME = "onnxruntime-web@1.30.0"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
NETWORKS = (*COMPARED, "attention56_cifar")
PAGE = resources.files("minran") / "live" / "page"
HERE = Path(__file__).parent
_SCRIPT = '<script src="{}" defer></script>\n'
NOTHING = "the site was built without npm or onnx, so no network runs here: try minran live"


def write(target: Path) -> None:
    """Write the page into `target`. onnxruntime-web is fetched once; all else is made anew."""
    target.mkdir(parents=True, exist_ok=True)
    try:
        _write_runtime(target)
        _write_networks(target)
        scripts = "".join(_SCRIPT.format(name) for name in ("ort.wasm.min.js", "source.js"))
        words = "computed in your browser as you paint."
    except (OSError, subprocess.SubprocessError, minran.errors.MinranError) as error:
        print(f"the live page: {NOTHING} ({error})")
        scripts, words = "", f"{NOTHING}."
    for name in ("live.css", "live.js"):
        (target / name).write_bytes((PAGE / name).read_bytes())
    shutil.copy(HERE / "live.js", target / "source.js")
    shutil.copy(HERE.parent / "images" / "quickstart.png", target / "still.png")
    still = '<img src="still.png" alt="Masks of a trained network over pictures of shapes">'
    shown = "hidden" if scripts else ""
    home = '<a href="../index.html">The site of minran</a>.'
    page = (PAGE / "index.html").read_text(encoding="utf-8")
    live = _SCRIPT.format("live.js")
    for before, after in (
        (live, scripts + live if scripts else ""),
        ("</noscript>", f'</noscript>\n<div id="still" {shown}>{still}</div>'),
        ("computed by minran as you paint.", f"{words} {home}"),
    ):
        if before not in page:
            raise ValueError(f"the live page has no {before!r} any more")
        page = page.replace(before, after)
    (target / "index.html").write_text(page, encoding="utf-8")


def _write_runtime(target: Path) -> None:
    """onnxruntime-web: its script, its loader, and its program, compressed to a fourth."""
    if (target / "runtime.wasm.gz").exists() and (target / "version").read_text() == RUNTIME:
        return
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", RUNTIME, "--pack-destination", folder]
        subprocess.run(command, check=True, timeout=300, capture_output=True)
        (file,) = Path(folder).glob("*.tgz")
        found = base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode()
        if found != SHA512:
            raise OSError(f"{RUNTIME} has another hash than expected: {found}")
        with tarfile.open(file) as archive:
            for name in ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs"):
                (target / name).write_bytes(_read(archive, name))
            program = _read(archive, "ort-wasm-simd-threaded.wasm")
    (target / "runtime.wasm.gz").write_bytes(gzip.compress(program, 9, mtime=0))
    (target / "version").write_text(RUNTIME)


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(f"package/dist/{name}")
    assert member is not None
    return member.read()


def _write_networks(target: Path) -> None:
    """The networks as ONNX files with every step, and what the page is told about them."""
    about: dict[str, Any] = {}
    networks = {name: load_network(name) for name in NETWORKS}
    pictures, names, masks = first_pictures(32)
    for name, network in networks.items():
        files = f"{name}.onnx", f"{name}-random.onnx"
        for file, model in zip(files, (network.trained, network.random), strict=True):
            minran.interop.export_onnx(model, target / file, preprocess=network.prepare, maps=True)
        shown = look(network.trained, network.prepare(pictures[:1])[0])
        about[name] = {"files": files, "modules": _modules(shown)}
    (target / "networks.json").write_text(json.dumps(about))
    told = setup("shapes and CIFAR-10", networks, pictures, names, masks)
    (target / "setup.json").write_text(json.dumps(told))


def _modules(shown: Shown) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "title": module_title(name),
            "channels": int(np.shape(steps[-1].values)[2]),
            "steps": [
                {"key": s.key, "equation": s.equation, "shape": s.values.shape} for s in steps
            ],
        }
        for name, steps in shown.modules.items()
    ]
