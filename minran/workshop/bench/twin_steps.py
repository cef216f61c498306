"""The steps of the PyTorch twin: pictures on the device, forward and backward as one CUDA graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from minran.data import Loader
from minran.data.augment import PAD
from minran.interop import create_twin, to_torch_state_dict
from minran.train import Parts, Recipe
from minran.train.gpu import SLOTS, UnreadSteps

WARMUP = 3
"""Eager passes before the recording: cuDNN chooses its kernels, memory comes to rest."""


class Pictures:
    """The pictures of a loader on the device, cut there into the batches that it would make."""

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
        """The loader's plans of all batches, sent to the device at once: (batches, 6, N) int64."""
        return torch.from_numpy(np.stack(list(self.loader.plans(epoch)))).to(self.place)

    def make(self, plan: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch from its plan: (N, 3, H, W) float32 in channels_last, (N,) labels."""
        number, top, left, mirrored, hidden_top, hidden_left = (part[:, None] for part in plan)
        rows = top + self.rows
        columns = left + torch.where(mirrored > 0, self.columns.flip(0), self.columns)
        cut = self.padded[number[:, :, None], rows[:, :, None], columns[:, None, :]]
        x = (cut.float() - self.mean) / self.std
        if size := self.loader.cutout:
            in_rows = (self.rows >= hidden_top) & (self.rows < hidden_top + size)
            in_columns = (self.columns >= hidden_left) & (self.columns < hidden_left + size)
            x = x.masked_fill((in_rows[:, :, None] & in_columns[:, None, :])[..., None], 0.0)
        return x.permute(0, 3, 1, 2), self.labels[plan[0]]


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


class TwinSteps(UnreadSteps):
    """Steps of the twin, which starts with minran's initial weights.

    device: "cpu" or "gpu"; capture: whether a GPU records forward and backward pass once and
    replays them.
    """

    def __init__(self, recipe: Recipe, parts: Parts, device: str, capture: bool) -> None:
        super().__init__(recipe, parts)
        self.place = torch.device("cuda" if device == "gpu" else "cpu")
        tf32 = recipe.precision != "fp32"
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = True
        classes = parts.train.dataset.num_classes
        model = create_twin(recipe.model.name, classes, **recipe.model.options)
        model.load_state_dict(to_torch_state_dict(parts.model.state_dict()))
        # PyTorch's stubs do not know that a Module takes a memory format.
        model.to(self.place, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model = model.train()
        flat, self.gradient = flatten(self.model)
        ours = recipe.optimizer
        self.optimizer = torch.optim.SGD(
            [flat], ours.lr, ours.momentum, weight_decay=ours.weight_decay, nesterov=ours.nesterov
        )
        self.pictures = Pictures(parts.train, self.place)
        self.plan = torch.zeros(6, parts.train.batch_size, dtype=torch.int64, device=self.place)
        self.outcome = torch.zeros(2, dtype=torch.float64, device=self.place)
        self.outcomes = torch.zeros(SLOTS, 2, dtype=torch.float64, device=self.place)
        self.mode = "eager"
        self._run = self._record() if capture and device == "gpu" else self.passes

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

    def batches(self, epoch: int, start: int) -> Generator[torch.Tensor, None, None]:
        """The plan of each batch, on the device."""
        yield from self.pictures.plan(epoch)[start:]

    def launch(self, batch: torch.Tensor, step: int) -> None:
        """One step, without waiting for it on a GPU."""
        self.plan.copy_(batch)
        self._run()
        self.optimizer.param_groups[0]["lr"] = self.parts.optimizer.lr
        self.optimizer.step()
        self.outcomes[step % SLOTS] = self.outcome

    def read(self) -> np.ndarray:
        """Losses and right answers of the last steps; waits for the device."""
        return self.outcomes.cpu().numpy()

    def passes(self) -> None:
        """Forward and backward pass on the batch of `plan`: gradients and outcome."""
        images, labels = self.pictures.make(self.plan)
        self.gradient.zero_()
        short = self.place.type == "cuda" and self.recipe.precision == "bf16"
        with torch.autocast(self.place.type, torch.bfloat16, enabled=short):
            logits = self.model(images)
            smoothing = self.recipe.training.label_smoothing
            loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
        loss.backward()
        right = (logits.argmax(1) == labels).sum()
        self.outcome.copy_(torch.stack([loss.detach().double(), right.double()]))

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
        return run

    def test(self) -> tuple[float, float]:
        """Mean loss (without smoothing) and accuracy on the test pictures."""
        loader = self.parts.test
        loss_sum, right = 0.0, 0
        self.model.eval()
        with torch.no_grad(), closing(loader.epoch(0)) as batches:
            for images, labels in batches:
                x = torch.from_numpy(images).to(self.place).permute(0, 3, 1, 2)
                truth = torch.from_numpy(labels).to(self.place)
                logits = self.model(x)
                loss_sum += F.cross_entropy(logits, truth, reduction="sum").item()
                right += int((logits.argmax(1) == truth).sum().item())
        self.model.train()
        return loss_sum / len(loader.dataset), right / len(loader.dataset)
