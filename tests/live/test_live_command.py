"""The command: which networks and pictures the page gets, and who opens it."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minran
from minran.cli import main
from minran.live import Server
from minran.live.server import COMPARED


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run on pictures of 16 pixels a side."""
    folder = tmp_path_factory.mktemp("runs")
    changes = {"model.name": "attention_nano", "model.options": "{depths = [2, 1]}"}
    changes |= {"data.train_count": "64", "data.test_count": "10", "data.size": "16"}
    changes |= {"training.epochs": "1"}
    recipe = minran.train.load_recipe("quickstart", [f"{k}={v}" for k, v in changes.items()])
    return minran.train.train(recipe, folder / "mine", quiet=True).run.folder


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The servers that began, each ended by Ctrl-C at once, and the addresses that were opened."""
    found: list[Any] = []

    def ends(server: Server) -> None:
        found.append(server)
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "serve_forever", ends)
    monkeypatch.setattr(webbrowser, "open", found.append)
    return found


def test_a_run_of_ones_own_is_served_and_opened(run: Path, served: list[Any]) -> None:
    assert main(["live", str(run)]) == 0
    opened, server = served
    assert opened == server.url and list(server.networks) == ["quickstart"]
    network = server.networks["quickstart"]
    assert network.trained.state_dict().keys() == network.random.state_dict().keys()
    model, *_ = minran.train.load_model(run / "last.safetensors")
    weight = "fc.weight"
    np.testing.assert_array_equal(network.trained.state_dict()[weight], model.state_dict()[weight])
    assert (network.random.state_dict()[weight] != model.state_dict()[weight]).any()
    assert server.pictures.shape == (10, 16, 16, 3)


def test_without_a_run_the_shipped_networks_are_compared(served: list[Any]) -> None:
    assert main(["live", "--no-browser"]) == 0
    (server,) = served
    assert list(server.networks) == list(COMPARED)


def test_ones_own_pictures_come_first(run: Path, served: list[Any], tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (40, 40), (200, 0, 0)).save(tmp_path / "red.png")
    assert main(["live", str(run), str(tmp_path / "red.png"), "--no-browser"]) == 0
    (server,) = served
    assert server.picture_names == ["red.png"] and server.true_masks is None
    assert (server.pictures == (200, 0, 0)).all()


def test_a_folder_of_ones_own_comes_before_shipped_weights(
    run: Path, served: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "attention56_cifar").symlink_to(run)
    monkeypatch.chdir(tmp_path)
    assert main(["live", "attention56_cifar", "--no-browser"]) == 0
    assert served[0].pictures.shape == (10, 16, 16, 3)
