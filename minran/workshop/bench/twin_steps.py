"""The steps of the PyTorch twin: pictures on the device, forward and backward as one CUDA graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from minran.data import Loader
from minran.data.loader import _BATCH_STREAM
from minran.interop import create_twin, to_torch_state_dict
from minran.train import Parts, Recipe

PAD = 4
WARMUP = 3
"""Eager passes before the recording: cuDNN chooses its kernels, memory comes to rest."""


class Pictures:
    """The pictures of a loader on the device, in the batches that the loader would make.

    `plan(epoch)` draws what `Loader._batch` draws, from the same streams, and sends it to the
    device once an epoch; `make(row)` cuts the batch there.
    """

    def __init__(self, loader: Loader, place: torch.device) -> None:
        self.loader, self.place = loader, place
        images = loader.dataset.images
        self.height, self.width = images.shape[1:3]
        pad = PAD if loader.augment else 0
        padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        self.padded = torch.from_numpy(padded).to(place)
        self.labels = torch.from_numpy(loader.dataset.labels).to(place)
        self.mean = torch.from_numpy(loader.preprocess.mean).to(place)
        self.std = float(np.float32(loader.preprocess.std))
        self.rows = torch.arange(self.height, device=place)
        self.columns = torch.arange(self.width, device=place)

    def plan(self, epoch: int) -> torch.Tensor:
        """What each picture of each batch is: (batches, 6, N) int64 on the device.

        The six: number of the picture, top and left of the window, mirrored (0 or 1), top and
        left of the hidden square.
        """
        loader = self.loader
        order, size = loader.order(epoch), loader.batch_size
        plan = np.zeros((len(loader), 6, size), np.int64)
        for index in range(len(loader)):
            rng = np.random.default_rng([_BATCH_STREAM, loader.seed, epoch, index])
            row, chosen = plan[index], order[index * size : (index + 1) * size]
            row[0] = chosen
            if loader.augment:
                row[1:3] = rng.integers(0, 2 * PAD + 1, (2, size, 1))[..., 0]
                row[3] = rng.random((size, 1))[:, 0] < 0.5
            if loader.cutout:
                row[4] = rng.integers(0, self.height, (size, 1))[:, 0] - loader.cutout // 2
                row[5] = rng.integers(0, self.width, (size, 1))[:, 0] - loader.cutout // 2
        return torch.from_numpy(plan).to(self.place)

    def make(self, row: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch from a row of the plan: (N, 3, H, W) float32 in channels_last, (N,) labels."""
        number, top, left, mirrored, hidden_top, hidden_left = (part[:, None] for part in row)
        rows = top + self.rows
        columns = left + torch.where(mirrored > 0, self.columns.flip(0), self.columns)
        cut = self.padded[number[:, :, None], rows[:, :, None], columns[:, None, :]]
        x = (cut.float() - self.mean) / self.std
        if size := self.loader.cutout:
            in_rows = (self.rows >= hidden_top) & (self.rows < hidden_top + size)
            in_columns = (self.columns >= hidden_left) & (self.columns < hidden_left + size)
            x = x.masked_fill((in_rows[:, :, None] & in_columns[:, None, :])[..., None], 0.0)
        return x.permute(0, 3, 1, 2), self.labels[row[0]]


def flatten(model: torch.nn.Module) -> tuple[torch.nn.Parameter, torch.Tensor]:
    """One parameter that holds all of the model's, and its gradient; theirs become views of it.

    `torch.optim.SGD` then moves everything in a few launches. Every parameter keeps its shape and
    memory order, and begins at a multiple of 256 bytes.
    """
    params = list(model.parameters())
    sizes = [-(-p.numel() // 64) * 64 for p in params]
    flat = torch.nn.Parameter(torch.zeros(sum(sizes), device=params[0].device))
    gradient = flat.grad = torch.zeros_like(flat)
    start = 0
    for p, size in zip(params, sizes, strict=True):
        view = flat.data.as_strided(p.shape, p.stride(), start)
        view.copy_(p.data)
        p.data = view
        p.grad = gradient.as_strided(p.shape, p.stride(), start)
        start += size
    return flat, gradient


class TwinSteps:
    """The twin with minran's initial weights, its optimiser, and how it takes a step.

    device: "cpu" or "gpu"; capture: whether a GPU records forward and backward pass once and
    replays them. `totals` holds the sum of losses and the number of right answers of an epoch, on
    the device, so that a step waits for nothing.
    """

    def __init__(self, recipe: Recipe, parts: Parts, device: str, capture: bool) -> None:
        self.place = torch.device("cuda" if device == "gpu" else "cpu")
        tf32 = recipe.precision != "fp32"
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = True
        self.recipe, self.parts = recipe, parts
        classes = parts.train.dataset.num_classes
        model = create_twin(recipe.model.name, classes, **recipe.model.options)
        model.load_state_dict(to_torch_state_dict(parts.model.state_dict()))
        # PyTorch's stubs do not know that a Module takes a memory format.
        model.to(self.place, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model = model.train()
        flat, self.gradient = flatten(self.model)
        settings = recipe.optimizer
        self.optimizer = torch.optim.SGD(
            [flat],
            settings.lr,
            settings.momentum,
            weight_decay=settings.weight_decay,
            nesterov=settings.nesterov,
        )
        self.pictures = Pictures(parts.train, self.place)
        self.row = torch.zeros(6, parts.train.batch_size, dtype=torch.int64, device=self.place)
        self.loss = torch.zeros((), device=self.place)
        self.totals = torch.zeros(2, dtype=torch.float64, device=self.place)
        self.plan = self.row[None]
        self.mode = "eager"
        self._passes = self._record() if capture and device == "gpu" else self.passes

    @property
    def facts(self) -> dict[str, Any]:
        """Whom this is and what it runs on, for environment.json."""
        facts = {
            "backend": f"PyTorch twin, channels_last, {self.mode}",
            "torch": str(torch.__version__),
            "precision": self.recipe.precision if self.place.type == "cuda" else "fp32",
        }
        if self.place.type == "cuda":
            facts["device"] = torch.cuda.get_device_name()
            facts["cudnn"] = str(torch.backends.cudnn.version())
        return facts

    def start_epoch(self, epoch: int) -> None:
        """Draw the batches of `epoch`, and begin to count anew."""
        self.plan = self.pictures.plan(epoch)
        self.totals.zero_()

    def take(self, batch: int, lr: float) -> None:
        """Launch one step on that batch of the epoch, without waiting for it on a GPU."""
        self.row.copy_(self.plan[batch])
        self._passes()
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()

    def passes(self) -> None:
        """Forward and backward pass on the batch of `row`: gradients, loss and totals."""
        images, labels = self.pictures.make(self.row)
        self.gradient.zero_()
        short = self.place.type == "cuda" and self.recipe.precision == "bf16"
        with torch.autocast(self.place.type, torch.bfloat16, enabled=short):
            logits = self.model(images)
            smoothing = self.recipe.training.label_smoothing
            loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
        loss.backward()
        self.loss.copy_(loss.detach())
        right = (logits.argmax(1) == labels).sum()
        self.totals += torch.stack([loss.detach().double() * len(labels), right.double()])

    def _record(self) -> Callable[[], object]:
        """`passes` as a CUDA graph; if it cannot be recorded, itself and a warning.

        The network is left as it was: warming up moves nothing but the running statistics, which
        are put back, and recording computes nothing.
        """
        before = {name: value.clone() for name, value in self.model.state_dict().items()}
        run: Callable[[], object] = self.passes
        try:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARMUP):
                    self.passes()
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self.passes()
            run, self.mode = graph.replay, "forward and backward as a CUDA graph"
        except RuntimeError as error:
            torch.cuda.synchronize()
            warnings.warn(f"the twin runs eager: it could not be recorded ({error})", stacklevel=2)
        self.model.load_state_dict(before)
        self.totals.zero_()
        return run

    def read(self) -> tuple[float, float, int]:
        """The last loss, the sum of losses and the right answers so far; waits for the device."""
        loss_sum, right = self.totals.tolist()
        return self.loss.item(), loss_sum, int(right)

    def test(self) -> tuple[float, float]:
        """Mean loss (without smoothing) and accuracy on the test pictures."""
        loader = self.parts.test
        loss_sum, right = 0.0, 0
        self.model.eval()
        with torch.no_grad():
            for images, labels in loader.epoch(0):
                x = torch.from_numpy(images).to(self.place).permute(0, 3, 1, 2)
                truth = torch.from_numpy(labels).to(self.place)
                logits = self.model(x)
                loss_sum += F.cross_entropy(logits, truth, reduction="sum").item()
                right += int((logits.argmax(1) == truth).sum().item())
        self.model.train()
        return loss_sum / len(loader.dataset), right / len(loader.dataset)
