"""Memory of each recipe: two steps and a test, and tests alone; next to what minran expects. JSON.

`python memory.py PICTURES RUNS`
"""

import json
import subprocess
import sys

from minran import create_model, inspect, machine

MEASURE = """
import resource, subprocess, sys
subprocess.run([sys.executable, "-m", "minran", *sys.argv[1:]], check=True, stdout=2)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""
NETWORKS = "attention56", "attentionnext56", "attention92"


def peak(*command: str) -> int:
    """Bytes that minran had at most."""
    run = [sys.executable, "-c", MEASURE, *command]
    return int(subprocess.run(run, check=True, capture_output=True, text=True).stdout)


rows = []
for name in NETWORKS:
    run, settings = f"{sys.argv[2]}/{name}-memory", []
    for entry in ("batch_size=16", "iterations=2", "precise_norm=64"):
        settings += ["--set", f"training.{entry}"]
    model = create_model(name, num_classes=4)
    rows.append({
        "network": name,
        "expected": inspect.memory(model, 16, 224, test_batch=50).total,
        "train": peak("train", "--quiet", "--force", "--recipe", f"imagenet-{name}", "--data",
                      f"folder:{sys.argv[1]}", "--runs", sys.argv[2], "--name", f"{name}-memory",
                      *settings),
        "evaluate": peak("evaluate", run),
        "evaluate 320": peak("evaluate", run, "--size", "320"),
    })  # fmt: skip
print(json.dumps({"environment": machine.facts(), "rows": rows}, indent=1))
