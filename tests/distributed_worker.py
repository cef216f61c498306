"""What the tests of `minran.distributed` start under mpiexec: `distributed_worker.py TASK ...`."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from faults.fault_helpers import Faults

from minran import backend, create_model, distributed
from minran.cli import main
from minran.data import load_shapes
from minran.errors import BackendError, DataError
from minran.optim import SGD
from minran.train import load_recipe, train, train_step
from minran.train.start import expect_same_pictures


def steps(out: str, batch_size: str, model: str, unit: str) -> None:
    """Three float64 steps; process 0 saves the losses, the first gradients and the state."""
    batch, rng = int(batch_size), np.random.default_rng(3)
    network = create_model(model, seed=0, dtype="float64", **({"unit": unit} if unit else {}))
    optimizer = SGD(network.parameters(), 0.01, 0.9, True, 1e-4)
    found = {"losses": [], "correct": []}
    for step in range(3):
        images = rng.standard_normal((batch, 32, 32, 3))
        labels = rng.integers(0, 10, batch)
        # Soft labels, as mixup makes them, are shared out with the pictures.
        soft = rng.dirichlet(np.ones(10), batch)
        loss, correct = train_step(network, optimizer, (images, labels, soft))
        found["losses"].append(loss)
        found["correct"].append(correct)
        if step == 0:
            found |= {f"grad {name}": p.grad for name, p in network.named_parameters()}
    found |= network.state_dict()
    found["threads"] = distributed.current().counts(backend.current().threads())
    if distributed.leads():
        np.savez(out, **found)


def world(out: str) -> None:
    """What every process gets from sums, small and large, and from the leader."""
    here = distributed.current()
    rng = np.random.default_rng(here.rank)
    found = {}
    for size in (1, 5, 30_001):
        for dtype in ("float32", "float64"):
            mine = rng.standard_normal(size).astype(dtype)
            found[f"own {size} {dtype}"] = mine
            found[f"sum {size} {dtype}"] = here.sum(mine.copy())
            found[f"gathered {size} {dtype}"] = here.gather(mine)
    found["counts"] = np.array(here.counts(10 * here.rank + 1))
    found["leader"] = np.array(distributed.from_leader(lambda: os.getpid()))
    try:
        distributed.from_leader(no_such_data)
    except DataError as error:
        found["error"] = np.array(str(error))
    np.savez(f"{out}.{here.rank}.npz", **found)


def no_such_data() -> None:
    raise DataError(f"process {distributed.current().rank} found no data")


def writes(out: str, recipe: str, folder: str) -> None:
    """How often each process forces something to the disk, or puts a file in place."""
    count = 0

    def counted(operation: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Any:
            nonlocal count
            count += 1
            return operation(*arguments)

        return wrapped

    os.fsync, os.replace = counted(os.fsync), counted(os.replace)
    rows: list[dict[str, Any]] = []
    result = train(load_recipe(recipe), folder, quiet=True, on_row=rows.append)
    counts = [distributed.current().counts(n) for n in (count, len(rows), len(result.history.rows))]
    if distributed.leads():
        np.savez(out, files=counts[0], told=counts[1], known=counts[2])


def fails(rank: str, how: str) -> None:
    """One process ends in the middle, while the other waits for its sums."""
    for step in range(100):
        if step == 3 and distributed.current().rank == int(rank):
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "interrupted":
                raise KeyboardInterrupt
            if how.startswith("exit"):
                sys.exit(int(how.removeprefix("exit")))
            raise RuntimeError("the disk of this machine is on fire")
        distributed.sum_numbers(step)


def dies(rank: str, where: str, at: str, *command: str) -> None:
    """`minran command`, in which one process is killed at its `at`-th sum, or its `at`-th point
    of writing below the run's folder; or the disk is full from that point on."""
    here = distributed.current()
    if here.rank == int(rank):
        if where == "sum":
            count, real = 0, type(here).sum

            def counted(world: Any, array: Any) -> Any:
                nonlocal count
                count += 1
                if count == int(at):
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(world, array)

            type(here).sum = counted
        else:
            folder = Path(command[command.index("--runs") + 1]).resolve()
            Faults(folder, int(at), errno.ENOSPC if where == "full" else None).install()
    sys.exit(main(list(command)))


def ends_apart() -> None:
    """One process has something left to do on its own when the other ends."""
    distributed.sum_numbers(1)
    if distributed.leads():
        time.sleep(0.5)
        print("done", flush=True)


def unlike(out: str) -> None:
    """What is said of everything in which one process may differ from process 0."""
    rank, said = distributed.current().rank, []
    alike = load_shapes(count=12)
    images, labels = alike.images.copy(), alike.labels.copy()
    images[3, 4, 5, rank - 1] ^= 1
    labels[:2] = labels[[1, 0]] if rank else labels[:2]
    others = [
        load_shapes(count=12 + rank),
        replace(alike, class_names=alike.class_names[::-1] if rank else alike.class_names),
        replace(alike, labels=labels),
        replace(alike, images=images),
    ]
    expect_same_pictures(test=alike)
    for other in others:
        try:
            expect_same_pictures(training=alike, test=other)
        except BackendError as error:
            said.append(str(error))
    for facts in ({"seed": rank}, {"seed": 0, "epochs": 3 - rank}, {"seed": 0, f"of {rank}": 1}):
        try:
            distributed.expect_alike(facts)
        except BackendError as error:
            said.append(str(error))
    Path(f"{out}.{rank}").write_text("\n".join(said))


def other_recipe(recipe: str, folder: str, changes: str) -> None:
    """Process 1 has another recipe."""
    own = changes.split() if distributed.current().rank == 1 else []
    sys.exit(main(["train", "--recipe", recipe, "--runs", folder, *own]))


def on_gpus(out: str, folder: str, *changes: str) -> None:
    """A captured run, on an emulated GPU for each process; what they told each other."""
    sys.path.insert(0, str(Path(__file__).parent / "backend"))
    from emulation import arrays
    from emulation.graph import Tape
    from gpu_runs import rows, run

    told: list[str] = []

    class BetweenGPUs(distributed.MPIWorld):
        """Messages between device arrays are a part of a recording, as NCCL's are."""

        def gather(self, array: Any) -> Any:
            return between(super().gather, array)

        def sum(self, array: Any) -> Any:
            return between(super().sum, array)

    def between(message: Callable[[Any], Any], array: Any) -> Any:
        if isinstance(array, np.ndarray):
            return message(array)
        kind = "recorded" if Tape.current else "sent"
        told.append(f"{kind} {message.__name__} {array.shape} {array.dtype}")
        return arrays.launch(message, message.__name__, (array,), {})

    here = distributed.current()
    here.__class__ = BetweenGPUs
    warnings.simplefilter("error")
    result = run("emulated", Path(folder), *changes)
    found = {"rows": rows(result), "told": told}
    Path(f"{out}.{here.rank}.json").write_text(json.dumps(found))
    np.savez(f"{out}.{here.rank}.npz", **result.state)


if __name__ == "__main__":
    distributed.start()
    globals()[sys.argv[1]](*sys.argv[2:])
