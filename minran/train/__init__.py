"""Training: recipes, the loop, resumable runs. Read `steps`, `loop`, `start`, then the rest."""

from minran.inspect.live import LiveCurves
from minran.train.checkpoint import Checkpoint, Progress, load_checkpoint, save_checkpoint
from minran.train.gpu import CapturedStep, CaptureError, capture_step
from minran.train.history import History, read_history
from minran.train.precise import precise_norm
from minran.train.recipe import Recipe, list_recipes, load_recipe, parse
from minran.train.report import RunSummary, compare, list_runs
from minran.train.run import Run, environment
from minran.train.setup import (
    Parts,
    Pretrained,
    build,
    export_weights,
    load_data,
    load_model,
    load_pretrained,
    make_model,
    use_precision,
)
from minran.train.start import Result, train
from minran.train.steps import evaluate, train_step
from minran.train.weights import list_pretrained

__all__ = [
    "CaptureError",
    "CapturedStep",
    "Checkpoint",
    "History",
    "LiveCurves",
    "Parts",
    "Pretrained",
    "Progress",
    "Recipe",
    "Result",
    "Run",
    "RunSummary",
    "build",
    "capture_step",
    "compare",
    "environment",
    "evaluate",
    "export_weights",
    "list_pretrained",
    "list_recipes",
    "list_runs",
    "load_checkpoint",
    "load_data",
    "load_model",
    "load_pretrained",
    "load_recipe",
    "make_model",
    "parse",
    "precise_norm",
    "read_history",
    "save_checkpoint",
    "train",
    "train_step",
    "use_precision",
]
