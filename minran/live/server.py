"""A web server for one page, one network and one reader: the browser of this machine.

It listens on 127.0.0.1 only, on a port of the system's choice. Every address begins with a token
that nobody can guess; the Host header must be this address, so that a page of another site that
makes its own name point here gets nothing. Files are found in a table, never by a path.
"""

from __future__ import annotations

import base64
import io
import json
import re
import secrets
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any, NamedTuple

import numpy as np

from minran import inspect
from minran.data import Preprocess, in_turns, load_shapes
from minran.errors import MinranError, ShapeError, expect
from minran.inspect.masks import module_title
from minran.live.network import Step, about, look
from minran.nn import Module
from minran.train import Recipe, load_model, make_model, parse
from minran.train.weights import weights_file

COMPARED = (
    "quickstart",
    "quickstart_naive",
    "quickstart_no_mask",
    "quickstart_channel",
    "quickstart_spatial",
)
"""Shipped networks that differ in one setting each from the first."""

MOST = 4 << 20
"""Bytes that a question may have: an image, and a painted mask for each module."""

TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
TYPES |= {"json": "application/json", "png": "image/png"}

RULES = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the page may load: what this server has."""


class Network(NamedTuple):
    """A network trained and with random weights, and what its images need."""

    trained: Module
    random: Module
    prepare: Preprocess
    class_names: list[str]
    recipe: Recipe


def load_network(weights: str) -> Network:
    """A trained network, and the same as it was before any training.

    weights: a shipped name, a run, or a checkpoint. Raises CheckpointError.
    """
    with weights_file(weights) as file:
        trained, prepare, checkpoint = load_model(file)
    names, recipe = checkpoint.class_names, parse(checkpoint.recipe)
    return Network(trained, make_model(recipe, len(names)).eval(), prepare, names, recipe)


class Server(ThreadingHTTPServer):
    """Answers for the page of trained networks; `url` is its address, `server_close` ends it.

    networks: by the name that the reader chooses, for images of one size.
    pictures: uint8 (N, S, S, 3) to begin with. picture_names: of their classes.
    true_masks: of their objects (N, S, S), where they are known.
    title: for the page. port: 0 lets the system choose.
    fit: how other files become squares (`load_folder`).

    The page is served by `serve_forever`.
    """

    daemon_threads = True

    def __init__(
        self,
        networks: dict[str, Network],
        pictures: np.ndarray,
        picture_names: list[str],
        true_masks: np.ndarray | None = None,
        title: str = "minran",
        fit: str = "cut",
        port: int = 0,
    ) -> None:
        self.networks = networks
        self.size = pictures.shape[1]
        self.pictures, self.picture_names = pictures, picture_names
        self.true_masks, shown = true_masks, (pictures, picture_names, true_masks)
        self.token = secrets.token_urlsafe(16)
        self.computes = threading.Lock()
        super().__init__(("127.0.0.1", port), Handler)
        page = resources.files("minran") / "live" / "page"
        self.files: dict[str, Callable[[], bytes]] = {
            "": (page / "index.html").read_bytes,
            "live.css": (page / "live.css").read_bytes,
            "live.js": (page / "live.js").read_bytes,
            "still.png": self.still,
            "setup.json": lambda: _json(setup(title, networks, *shown, fit)),
        }

    @property
    def url(self) -> str:
        """The address of the page, with its token."""
        return f"http://127.0.0.1:{self.server_port}/{self.token}/"

    def still(self) -> bytes:
        """The images with the first network's masks, or answers, for a page without scripts."""
        network, shown = next(iter(self.networks.values())), io.BytesIO()
        images = network.prepare(self.pictures)
        try:
            maps = inspect.attention_maps(network.trained, images)
            figure = inspect.mask_figure(self.pictures, maps)
        except ShapeError:  # it has no masks
            shares = inspect.class_probabilities(network.trained, images)
            figure = inspect.prediction_figure(self.pictures, shares, network.class_names)
        figure.savefig(shown, format="png", dpi=100)
        return shown.getvalue()

    def answer(self, question: Any) -> dict[str, Any]:
        """Logits and maps for an image. Raises ShapeError for a question that is none.

        question: {"pixels": base64 of S x S x 3 bytes, "network": a name, "random": whether with
        random weights, "channel": a number or null for the mean over channels, "masks": {module:
        [[...], ...]}}.
        """
        expect(isinstance(question, dict), "a question must be an object")
        unknown = set(question) - {"pixels", "network", "random", "channel", "masks"}
        expect(not unknown, f"a question has no {', '.join(sorted(unknown))}")
        name = question.get("network", next(iter(self.networks)))
        known = isinstance(name, str) and name in self.networks
        expect(known, f"there is no network {name!r}")
        network = self.networks[name]
        random = question.get("random", False)
        expect(isinstance(random, bool), f"random must be true or false, got {random!r}")
        channel = question.get("channel")
        whole = channel is None or (type(channel) is int and channel >= 0)
        expect(whole, f"channel must be a number from 0 on, or null, got {channel!r}")
        picture = self._picture(question.get("pixels"))
        masks = question.get("masks") or {}
        expect(isinstance(masks, dict), "masks must be an object: maps by a module's name")
        values = {name: _as_mask(name, rows) for name, rows in masks.items()}
        model = network.random if random else network.trained
        with self.computes:
            shown = look(model, network.prepare(picture[None])[0], values)
        return {
            "logits": [float(value) for value in shown.logits],
            "modules": [
                {
                    "name": name,
                    "title": module_title(name),
                    "channels": steps[-1].values.shape[2],
                    "steps": [_step(step, channel) for step in steps],
                }
                for name, steps in shown.modules.items()
            ],
        }

    def _picture(self, text: Any) -> np.ndarray:
        shape = (self.size, self.size, 3)
        expect(isinstance(text, str), "pixels must be text in base64")
        try:
            pixels = base64.b64decode(text, validate=True)
        except ValueError as error:
            raise ShapeError(f"pixels are no base64: {error}") from None
        right = len(pixels) == np.prod(shape)
        expect(right, f"pixels must be {np.prod(shape)} bytes {shape}, got {len(pixels)}")
        return np.frombuffer(pixels, np.uint8).reshape(shape)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader who left early is no error to talk about; any other is."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "minran", ""
    timeout = 20

    def do_GET(self) -> None:
        """The page and its parts."""
        name = self._name()
        if name is None:
            return
        if name not in self.server.files:
            self._fail(HTTPStatus.NOT_FOUND, "there is no such page")
            return
        kind = TYPES[name.rpartition(".")[2] or "html"]
        self._send(HTTPStatus.OK, self.server.files[name](), kind)

    def do_POST(self) -> None:
        """A question about an image."""
        length = self.headers.get("Content-Length", "")
        if not (re.fullmatch("[0-9]{1,9}", length) and int(length) <= MOST):
            self.close_connection = True
            problem = f"a question needs a length of at most {MOST} bytes"
            self._fail(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, problem)
            return
        body = self.rfile.read(int(length))
        name = self._name()
        if name is None:
            return
        # A form of another site cannot send this type without asking first, and is never let.
        if name != "look" or self.headers.get_content_type() != "application/json":
            self._fail(HTTPStatus.NOT_FOUND, "questions go to look, as application/json")
            return
        try:
            answer = self.server.answer(json.loads(body))
        except (MinranError, ValueError, RecursionError) as error:
            self._fail(HTTPStatus.BAD_REQUEST, str(error))
            return
        self._send(HTTPStatus.OK, _json(answer), "application/json")

    def _name(self) -> str | None:
        """What is asked for, after the token; or None, and the answer is sent."""
        port = self.server.server_port
        hosts = (f"127.0.0.1:{port}", f"localhost:{port}")
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        same = origin is None or origin in [f"http://{each}" for each in hosts]
        if host not in hosts or not same:
            self._fail(HTTPStatus.FORBIDDEN, "this page is for the machine that it runs on")
            return None
        token, found, name = self.path.removeprefix("/").partition("/")
        right = secrets.compare_digest(token.encode("utf-8", "replace"), self.server.token.encode())
        if not (right and found):
            self._fail(HTTPStatus.FORBIDDEN, "open the address that minran live printed, whole")
            return None
        return name

    def _fail(self, status: HTTPStatus, problem: str) -> None:
        self._send(status, _json({"error": problem}), "application/json")

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", RULES)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal is the reader's."""


def _step(step: Step, channel: int | None) -> dict[str, Any]:
    """A step for the page: its mean over channels, or one (the last, if it has fewer)."""
    values = step.values
    if channel is None:
        shown = values.mean(axis=2)
    else:
        shown = values[..., min(channel, values.shape[2] - 1)]
    return {"key": step.key, "equation": step.equation, "shape": values.shape, "map": _map(shown)}


def _map(values: np.ndarray) -> dict[str, Any]:
    """Numbers (h, w) for the page: float32, little-endian, in base64."""
    return {
        "rows": values.shape[0],
        "columns": values.shape[1],
        "values": _text(values.astype("<f4")),
    }


def _as_mask(name: str, rows: Any) -> np.ndarray:
    try:
        return np.array(rows, np.float32)
    except (TypeError, ValueError, OverflowError):
        raise ShapeError(f"the mask of {name} must be rows of numbers of one length") from None


def _text(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def setup(
    title: str,
    networks: dict[str, Network],
    pictures: np.ndarray,
    picture_names: list[str],
    true_masks: np.ndarray | None,
    fit: str = "cut",
) -> dict[str, Any]:
    """What a page is told at its start; fit: how files become squares (`load_folder`)."""
    size = pictures.shape[1]
    return {
        "title": title,
        "size": size,
        "fit": fit,
        "networks": {
            name: {"classes": network.class_names, **about(network.trained)}
            for name, network in networks.items()
        },
        "pictures": [
            {
                "name": name,
                "pixels": _text(pictures[k]),
                "object": None if true_masks is None else _text(true_masks[k].astype(np.uint8)),
            }
            for k, name in enumerate(picture_names)
        ],
        "centre": _map(inspect.centre_map((size, size))),
    }


def first_pictures(size: int, count: int = 10) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Built-in images of different classes: (N, S, S, 3), their names, the true object masks.

    The shapes have at least 16 pixels a side; for smaller networks the mean of pixels is taken.
    """
    times = -(-16 // size)
    shapes = load_shapes("test", 100, size=size * times)
    part = shapes.subset(in_turns(shapes.labels)[:count])
    cells = (count, size, times, size, times)
    pictures = part.images[:].reshape(*cells, 3).mean(axis=(2, 4)).astype(np.uint8)
    masks = np.asarray(part.masks).reshape(cells).mean(axis=(2, 4)) >= 0.5
    return pictures, [shapes.class_names[label] for label in part.labels], masks
