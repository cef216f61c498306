"""The whole suite runs on all cores: `pytest` without arguments, where pytest-xdist is installed.

A part of it (`pytest tests/nn`), or `pytest -n 0`, runs in one process, with a debugger if wanted.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Generator

import pytest

MOST = 8
"""A bound for machines with many cores: each process imports PyTorch."""

WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0"))
"""In one of several processes: how many there are; 0 outside."""

if WORKERS:  # each process computes with its share of the cores; read when NumPy is imported
    share = str(max(1, (os.cpu_count() or 1) // WORKERS))
    for name in (
        "OPENBLAS_NUM_THREADS",
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "MINRAN_NUM_THREADS",
    ):
        os.environ.setdefault(name, share)

# A shell that starts pytest in the background has it ignore Ctrl-C, and what pytest starts too;
# tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Ask pytest-xdist for a process a core, files kept together, unless options say otherwise."""
    # This also runs in the processes that are started, which must not start their own.
    whole = WORKERS == 0 and config.args == config.getini("testpaths")
    options = config.option
    if (
        whole
        and getattr(options, "numprocesses", 0) is None
        and not options.usepdb
        and not options.collectonly
    ):
        options.numprocesses = min(MOST, os.cpu_count() or 1)
        if options.dist == "no":
            options.dist = "loadscope"
    options.loadscopereorder = False  # the order is that of `pytest_collection_modifyitems`


LONG = (
    "test_gpu_compile.py",
    "test_several_gpus.py",
    "test_gpu_bfloat16.py",
    "test_gpu_training.py",
    "test_distributed.py",
    "test_faults_processes.py",
    "test_faults_train.py",
    "test_course_grade.py",
    "test_course_hostile.py",
    "test_course_notebooks.py",
    "test_static.py",
    "test_bench_end_to_end.py",
    "test_live_site.py",
    "test_twin_losses.py",
    "test_onnx_cases.py",
    "test_fuzz_files.py",
)
"""Files that take longer than most, whose tests may be few."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes share the files: the long ones first, then those with most tests.

    A long file that begins when the others are done would leave all processes but one idle.
    """
    if WORKERS:
        count = Counter(item.path for item in items)
        items.sort(key=lambda item: (item.path.name not in LONG, -count[item.path]))


OPTIONAL = ("torch", "onnx", "mpi4py", "ml_dtypes", "jupytext", "nbformat", "nbclient")
"""Packages of the test extra that not every Python has; a test module that needs one is skipped."""


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Skip a module that imports an optional package which is not there, and say which."""
    report = yield
    call = getattr(report, "call", None)
    error = call.excinfo.value if call and call.excinfo else None
    while error is not None and not isinstance(error, ModuleNotFoundError):
        error = error.__cause__
    if report.failed and error is not None and str(error.name).split(".")[0] in OPTIONAL:
        reason = f"Skipped: needs {error.name}, which is not installed"
        report.outcome, report.longrepr = "skipped", (str(collector.path), 0, reason)
    return report
