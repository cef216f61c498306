"""Where the measured figures in our texts come from.

`quotes()` gives each figure as the words in which it stands in a text, made from a file in
`docs/results`, and the pages that have them. `NOT_MEASURED` has the numbers that look measured and
are not. `test_figures.py` compares. A page may break a line where the words have a space.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import minran
from minran.inspect import summary
from minran.workshop.bench import report

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
README, SPEED, LEDGER = "README.md", "docs/speed.md", "docs/results/ledger.md"
FRONT = "docs/index.md"
ON_A_GPU = "docs/results/gpu/README.md"
IN_SMALL = "docs/results/ablations-nano/README.md"
TRAIN = "docs/howto/train-cifar10.md"
REPLICATIONS = "docs/paper/replications.md"
TORCH = "torch_channels_last"

Quote = tuple[str, ...]
"""The words, then the pages."""


@functools.cache
def bench(file: str, job: str = "step", place: int = 0) -> dict[str, dict[str, Any]]:
    """The contenders of a job of a run of the benchmark, by name; place: which of several."""
    sections = json.loads((RESULTS / file).read_text())["sections"]
    found = [each for section in sections.values() for each in section if each["job"] == job]
    return {contender["name"]: contender for contender in found[place]["contenders"]}


def rows(file: str) -> list[dict[str, Any]]:
    """The epochs of a history."""
    lines = map(json.loads, (RESULTS / file).read_text().splitlines())
    return [row for row in lines if row["kind"] == "epoch"]


def accuracy(file: str) -> str:
    return f"{100 * rows(file)[-1]['test_accuracy']:.2f}%"


def span(ratio: dict[str, float], digits: int = 2) -> str:
    """A median with its range."""
    low, high = ratio["low"], ratio["high"]
    return f"{ratio['median']:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def seconds(contender: dict[str, Any]) -> float:
    return contender["seconds"]["median"]


def ms(contender: dict[str, Any]) -> str:
    return f"{1000 * seconds(contender):.3g} ms"


def mb(contender: dict[str, Any], key: str = "peak_bytes") -> str:
    return f"{contender[key] / 1e6:.0f}"


def ratio(contender: dict[str, Any]) -> float:
    return contender["to_torch"]["median"]


def training() -> Iterator[Quote]:
    small, quick = "cifar10-small/history.jsonl", "quickstart/history.jsonl"
    minutes = f"{rows(small)[-1]['seconds'] / 60:.1f}"
    yield f"{accuracy(small)} test accuracy, {minutes} minutes on 2 busy cores", README, FRONT
    yield f"| {accuracy(small)} | 0 | {minutes} min,", LEDGER
    yield f"| {accuracy(small)} (10,000", "docs/results/cifar10-small/README.md"
    yield f"{minutes} minutes, on a machine", "docs/results/cifar10-small/README.md"
    yield f"{accuracy(small)} on the test images, trained in {minutes} minutes", TRAIN
    yield f"took {minutes} minutes on 2 busy cores", REPLICATIONS
    yield f"{accuracy(quick)} test accuracy, the weights that ship", README
    yield f"| {accuracy(quick)} | 0 | {rows(quick)[-1]['seconds']:.0f} s", LEDGER
    seeds = [f"quickstart/53a895e-seed-{seed}.jsonl" for seed in range(3)]
    times = [rows(file)[-1]["seconds"] for file in seeds]
    took = f"{min(times):.0f} to {max(times):.0f} s"
    first, second, third = (accuracy(file) for file in seeds)
    yield (
        f"{first[:-1]}, {second[:-1]} and {third} (seeds 0, 1, 2), trained in {took}",
        README,
        FRONT,
    )
    yield f"{first}, {second}, {third} | 0, 1, 2 | {took}", LEDGER
    yield f"{took} of training", TRAIN

    ours, twin = (f"gpu/attention56-12-epochs-{who}-history.jsonl" for who in ("ours", "twin"))
    took, theirs = (f"{rows(file)[-1]['seconds']:.0f}" for file in (ours, twin))
    setup = f"{rows(twin)[0]['seconds'] - epoch(twin):.0f}"
    yield (
        f"{accuracy(ours)} test accuracy in {took} s (PyTorch twin: {accuracy(twin)})",
        README,
        FRONT,
    )
    yield f"has {accuracy(ours)} accuracy after 12 epochs", REPLICATIONS
    yield f"| {accuracy(ours)} | 0 | {took} s", LEDGER
    yield f"| {accuracy(twin)} | 0 | {theirs} s, {setup} of them to set up", LEDGER
    yield f"| {accuracy(ours)} | {took} |", ON_A_GPU
    yield f"| {accuracy(twin)} | {theirs}, of which {setup} to set up", ON_A_GPU
    yield f"| about {epoch(ours):.2f} s | about {epoch(twin):.2f} s |", LEDGER
    yield f"in about {epoch(twin):.2f} s, minran in about {epoch(ours):.2f} s", ON_A_GPU


def fine_tuning() -> Iterator[Quote]:
    readme, howto = "docs/results/fine-tuning/README.md", "docs/howto/fine-tune.md"
    kinds = ["fine-tuned", "frozen", "scratch-0.05-20", "scratch-0.2-20", "scratch-0.2-100"]
    files = {kind: [f"fine-tuning/{kind}-seed-{seed}.jsonl" for seed in range(3)] for kind in kinds}
    for kind in kinds:
        pages = (LEDGER,) if kind in ("fine-tuned", "scratch-0.2-100") else ()
        yield f"| {', '.join(map(accuracy, files[kind]))} |", readme, howto, *pages
    yield f"seed 0: {accuracy('fine-tuning/first.jsonl')} on 1,000", readme
    found = [rows(file)[-1]["test_accuracy"] for kind in kinds for file in files[kind]]
    yield f"by {100 * (min(found[:6]) - max(found[6:])):.1f} points or more", readme
    known = [100 * rows(file)[-1]["train_accuracy"] for file in files["scratch-0.2-100"]]
    yield f"({min(known):.0f} to {max(known):.0f}% of them)", readme


def compared() -> Iterator[Quote]:
    readme = "docs/results/quickstart-compared/README.md"
    kinds = ("naive", "no_mask", "channel", "spatial")
    files = {kind: f"quickstart-compared/{kind}.jsonl" for kind in (*kinds, "residual")}
    for kind, file in files.items():
        name = "quickstart" if kind == "residual" else f"quickstart_{kind}"
        size = minran.load_pretrained(name).model.num_parameters()
        yield f"| {size:,} | {accuracy(file)} |", readme
    yield f"| {', '.join(accuracy(files[kind]) for kind in kinds)} | 0 |", LEDGER
    took = [rows(files[kind])[-1]["seconds"] for kind in kinds]
    yield f"{min(took):.0f} to {max(took):.0f} s of training, an upper bound", LEDGER
    spread = [rows(f"quickstart/53a895e-seed-{n}.jsonl")[-1]["test_accuracy"] for n in range(3)]
    points = f"by {100 * (max(spread) - min(spread)):.2f} points"
    yield f"already differ {points}", readme
    yield f"small network differs {points}", REPLICATIONS


def few_pictures() -> Iterator[Quote]:
    for kind in ("before", "now"):
        for run in ("20-epochs-3", "150-epochs-3", "20-epochs-60", "150-epochs-20"):
            files = [f"few-pictures/{kind}-{run}-seed-{seed}.jsonl" for seed in range(3)]
            yield f"| {', '.join(map(accuracy, files))} |", "docs/results/few-pictures/README.md"
    for count in (20, 150, 2000):
        files = [f"few-pictures/own-{count}-seed-{seed}.jsonl" for seed in range(3)]
        yield f"| {', '.join(map(accuracy, files))} |", "docs/results/few-pictures/README.md"


def equal_cost() -> Iterator[Quote]:
    page = "docs/results/equal-cost/README.md"
    none: dict[str, Any] = {"mask": "none"}
    tables: list[tuple[str, dict[str, Any], tuple[str, ...], list[int], list[int]]] = [
        ("nano", {"stem": "imagenet", "widths": [32, 32]}, ("cost", "longer"), [1, 1], [1, 4]),
        ("small_cifar", {}, ("small",), [1, 1, 1], [1, 2, 2]),
    ]
    for network, options, names, few, more in tables:
        kinds = {
            "masks": {"modules": few},
            "deeper trunk": {"modules": more, **none},
            "same trunk": {"modules": few, **none},
        }
        files = [RESULTS / "equal-cost" / f"{name}.json" for name in names]
        logs = [json.loads(file.read_text())["cells"] for file in files]
        for cells in zip(*logs, strict=True):
            name = cells[0]["row"]
            model = minran.create_model(f"attention_{network}", **options, **kinds[name])
            found = minran.inspect.summary(model)
            row = [name, f"{found.parameters:,}", f"{found.multiply_adds / 1e6:.2f}"]
            for cell in cells:
                row.append(f"{cell['mean']:.1f} ± {cell['standard_deviation']:.1f}")
                told = (
                    "{difference:+.1f} ± {margin:.1f}".format(**cell) if "margin" in cell else "-"
                )
                row.append(told)
            yield f"| {' | '.join(row)} |", page
    masks, *others = (cell["values"] for cell in logs[0])
    fewer = [[mine < its for mine, its in zip(masks, other)] for other in others]
    early, late = (sum(sum(row[part]) for row in fewer) for part in (slice(3), slice(3, 5)))
    yield f"fewer errors in {early} of 6 pairs of one seed", page
    yield f"with seeds 3 and 4, in {late} of 4", page
    margins = [f"{cell['margin']:.1f}" for cell in logs[0][1:]]
    yield f"the margins, {' and '.join(margins)} points", page
    yield f"the margin there is {margins[0]} points of error", "notebooks/18_limits.py"


def grading() -> Iterator[Quote]:
    found = json.loads((RESULTS / "grading.json").read_text())
    minutes = f"{found['seconds'] / 60:.0f} minutes"
    yield f"took {minutes} on two cores with `--jobs {found['jobs']}`", "docs/teach/grading.md"
    assert found["notebooks"] == 100


def imagenet_recipes() -> Iterator[Quote]:
    folder, page = RESULTS / "imagenet-recipes", "docs/results/imagenet-recipes/README.md"
    peaks = []
    for network in ("attention56", "attentionnext56", "attention92"):
        rows = map(json.loads, (folder / f"{network}.jsonl").read_text().splitlines())
        losses = [row["loss"] for row in rows if row["kind"] == "step"]
        means = [f"{statistics.mean(losses[a : a + 10]):.2f}" for a in (0, 55, 110)]
        printed = (folder / f"{network}.txt").read_text()
        right = re.findall(r"accuracy ([\d.]+%), loss", printed)
        yield f"| `{network}` | {' | '.join([*means, *right])} |", page
        peaks += re.findall(r"most memory of the process: ([\d.]+) GB", printed)[:1]
    yield f"the first two took {peaks[0]} and {peaks[1]} GB", page
    for row in json.loads((folder / "memory.json").read_text())["rows"]:
        sizes = [row[key] / 1e9 for key in ("expected", "train", "evaluate", "evaluate 320")]
        expected, train, *tests = (f"{size:.2f} GB" for size in sizes)
        cells = expected, train, f"{sizes[0] / sizes[1]:.2f}", *tests
        yield f"| `{row['network']}` | {' | '.join(cells)} |", page


def live_page() -> Iterator[Quote]:
    found = json.loads((RESULTS / "live" / "passes.json").read_text())["rows"]
    for network in ("quickstart", "attention56_cifar"):
        cells = []
        for by in ("site", "minran"):
            rounds = [row["ms"] for row in found if (row["network"], row["by"]) == (network, by)]
            medians = [statistics.median(times) for times in rounds]
            every = statistics.median(itertools.chain(*rounds))
            cells.append(f"{every:.1f} ms ({min(medians):.1f} to {max(medians):.1f})")
        yield f"| `{network}` | {' | '.join(cells)} |", "docs/results/live/README.md"
        if network == "quickstart":
            yield f"median (medians of rounds) | {cells[0]} |", FRONT


def longest(
    loops: dict[str, Any], kernel: str, kind: str, tile: str, end: str, steps: int = 0
) -> str:
    """Of instances that begin so: a thread's most instructions, and how many groups share a step.

    Of the loop as it is, or for so many steps of k.
    """
    start = re.escape(f"{kernel}<{kind}<{tile.replace('x', ', ')}, ")
    form = re.compile(start + r"(\d+)(?:, (\d))?>, " + re.escape(end))
    found = [
        (row["instructions"] * (steps or int(it[1])) // int(it[1]), it[2])
        for name, row in loops.items()
        if (it := form.match(name))
    ]
    count, groups = max(found, key=lambda each: each[0], default=("", None))
    return f"{count} ({groups})" if groups else f"{count}"


def stages() -> Iterator[Quote]:
    found = json.loads((RESULTS / "gpu" / "cp-async.json").read_text())["rows"]
    half = len(found) // 2
    for short, long in zip(found[half:], found[:half], strict=True):
        assert short["variant"] == long["variant"]
        cells = []
        for row in long, short:
            before, after = row["before"], row["after"]
            of_as_many = after["instructions"] * before["products"] // after["products"]
            cells += [f"{before['instructions']} ({before['registers']})"]
            cells += [f"{of_as_many} ({after['registers']})"]
        yield f"| {' | '.join(cells)} |", ON_A_GPU


def instructions() -> Iterator[Quote]:
    names = "static-before", "static-tf32", "static-bf16", "reckoned"
    before, now, short, reckoned = (
        json.loads((RESULTS / "gpu" / f"{name}.json").read_text()) for name in names
    )
    step, loops = now["steps"][0], {row["instance"]: row for row in now["steps"][0]["loops"]}
    assert not any(row["spills"] for row in loops.values())
    for row in before["rows"]:
        tile = row["tile"]
        *general, pointwise = (
            longest(loops, row["kernel"], "Tf32", tile, f"4, float, {window}")
            for window in ("ANY", "UNIT_STRIDE", "POINTWISE")
        )
        if pointwise:
            cells = row["kernel"], tile, row["loop"], general[1] or general[0], pointwise
            yield "| `{}` | {} | {} | {} | {} |".format(*cells), ON_A_GPU
    steps = loops | {row["instance"]: row for row in short["steps"][0]["loops"]}
    for kernel, tile in itertools.product(
        ("conv_forward", "conv_input", "conv_filters"), ("64x16", "64x64", "128x64")
    ):
        ends = {"Tf32": "4, float, POINTWISE, true>", "Bf16": "8, bfloat16, POINTWISE, true>"}
        tf32, bf16 = (longest(steps, kernel, kind, tile, end, 32) for kind, end in ends.items())
        if tf32:
            yield f"| `{kernel}` | {tile} | {tf32} | {bf16} |", ON_A_GPU
    assert not any(row["spills"] for row in steps.values())
    yield f"1,408 before, {step['launches']} now", ON_A_GPU
    sizes = step["bytes"] / 1e9, short["steps"][0]["bytes"] / 1e9
    yield "{:.2f} GB in tf32, {:.2f} GB in bf16".format(*sizes), ON_A_GPU
    given: Counter[str] = Counter()
    for each in step["kernels"]:
        given["conv" if each["kernel"].startswith("conv_") else each["kernel"]] += each["bytes"]
    names = "conv", "batch_norm_backward_input", "sum_gradients", "add"
    convolutions, norms, sums, additions = (f"{given[name] / 1e9:.2f}" for name in names)
    yield f"the convolutions are given {convolutions} GB of them, the", ON_A_GPU
    yield f"backward of the norms {norms}, the sums of gradients {sums}, the additions", ON_A_GPU
    yield f"left {additions}. Fewer would", ON_A_GPU
    yield f"takes for an instruction, {reckoned['cycles']:.1f}, was found", ON_A_GPU
    yield f"the {sum(reckoned['measured'].values()):.2f} ms that its convolutions", ON_A_GPU
    off = [100 * (reckoned["reckoned"][k] / t - 1) for k, t in reckoned["measured"].items()]
    told = "{:.0f}% below (`conv_forward`), {:.0f}% above (`conv_input`) and {:.0f}% below"
    yield told.format(-off[0], off[1], -off[2]), ON_A_GPU
    traced = (RESULTS / "gpu" / "kernels-128.txt").read_text()
    took = float(re.search(r"captured ms ([\d.]+)", traced)[1])
    told = f"{1e3 * step['seconds']:.2f} ms for the step at batch 128, which took {took:.2f} ms"
    yield told, ON_A_GPU
    yield f"In bf16 it says {1e3 * short['steps'][0]['seconds']:.2f} ms", ON_A_GPU
    times = {each["batch"]: 1e3 * each["seconds"] for each in now["steps"]}
    tf32 = ", ".join(f"{times[batch]:.1f}" for batch in (64, 128, 512))
    bf16 = f"in bf16 at batch 128: {1e3 * short['steps'][0]['seconds']:.1f} ms"
    yield f"in tf32 at batches 64, 128, 512: {tf32} ms; {bf16}", "docs/results/owed.md"


def memory() -> Iterator[Quote]:
    page, ratios = "docs/results/memory/README.md", []
    logs = [json.loads((RESULTS / "memory" / f"threads-{n}.json").read_text()) for n in (1, 2)]
    for pair in zip(*(log["rows"] for log in logs), strict=True):
        kind, network, batch, size = (pair[0][key] for key in ("kind", "network", "batch", "size"))
        cells = [(row["expected"], row["measured"]) for row in pair]
        ratios += [said / took for said, took in cells]
        text = [f"{a / 1e9:.2f} / {b / 1e9:.2f} GB, {a / b:.2f}" for a, b in cells]
        yield f"| {kind} | `{network}` | {batch} of {size} | {' | '.join(text)} |", page
    yield f"between {min(ratios):.2f} and {max(ratios):.2f} times measured", page
    yield (
        f"between {min(ratios):.2f} and {max(ratios):.2f} times measured memory",
        "docs/howto/own-pictures.md",
    )
    network = minran.create_model("attention56_cifar")
    for batch, file in ((64, "gpu-tf32-64-512"), (128, "first-call-128"), (512, "gpu-tf32-64-512")):
        jobs = json.loads((RESULTS / "gpu" / f"{file}.json").read_text())["sections"]["networks"]
        job = next(job for job in jobs if job["options"]["batch"] == batch)
        took = next(c["device_bytes"] for c in job["contenders"] if c["name"] == "minran")
        said = minran.inspect.memory(network, batch, device="gpu").total
        yield f"| {batch} | {said / 1e9:.2f} / {took / 1e9:.2f} GB, {said / took:.2f} |", page


def epoch(file: str) -> float:
    """Seconds of an epoch but the first."""
    ends = [row["seconds"] for row in rows(file)]
    return statistics.median(b - a for a, b in itertools.pairwise(ends))


def speed() -> Iterator[Quote]:
    now, then, before, without = (
        f"cpu-{name}.json"
        for name in ("networks", "networks-4c137af", "networks-1f71a95", "decisions")
    )
    step, inference = bench(now), bench(now, "inference")
    one, two = span(step["minran"]["to_torch"]), span(step["minran_mpi"]["to_torch"])
    peak = f"{step['minran']['peak_bytes'] / step[TORCH]['peak_bytes']:.2f}"
    times, in_two = one.replace(" ", " times its time ", 1), two.replace(" ", " in 2 processes ", 1)
    yield f"{times}, {in_two}; {peak} times its memory", README, FRONT
    yield f"{ratio(step['minran']):.2f} times PyTorch's time", "docs/paper/faq.md"
    for job, contenders in (("training step", step), ("inference", inference)):
        for name, many in (("minran", 1), ("minran_mpi", 2)):
            this = contenders[name]
            relative = span(this["to_torch"])
            row = job if many == 1 else f"{job}, 2 processes"
            yield f"| {row} | {seconds(this):.3g} s | {relative} |", LEDGER
            yield f"| {relative} | reached |", SPEED
    yield f"| {mb(step['minran'])} MB | {peak} |", LEDGER
    yield f"| {peak} ({mb(step['minran'])} of {mb(step[TORCH])} MB) |", SPEED
    yield f"| {import_cost(now):.3f} s |", LEDGER, SPEED
    products = step["products"], inference["products"]
    yield f"products alone took {ratio(products[0]):.2f} of PyTorch's step", SPEED
    yield f"{ratio(products[0]):.2f} of PyTorch's step, {ratio(products[1]):.2f} of its in", SPEED
    old, old_inference = bench(before), bench(before, "inference")
    names = ("minran", "minran_mpi")
    first, second, third, fourth = (ratio(of[n]) for of in (old, old_inference) for n in names)
    yield (
        f"gave {first:.2f} for the step, {second:.2f} with 2 processes, {third:.2f} and "
        f"{fourth:.2f} for inference",
        SPEED,
    )
    new, new_inference = bench(then)["minran"], bench(then, "inference")["minran"]
    yield f"from {first:.2f} to {ratio(new):.2f}: the two files", SPEED
    yield f"from {third:.2f} to {ratio(new_inference):.2f}: the same", SPEED
    yield (
        f"gave {span(new['to_torch'])} for the step and {ratio(new_inference):.2f} for inference",
        SPEED,
    )
    yield f"{ratio(step['torch']):.2f} times, both timed in one run", "docs/explain/layout.md"

    decisions = bench(without)
    yield f"(minran {mb(decisions['minran'])} MB)", SPEED
    yield f"`--decisions` below {ratio(decisions['minran_mpi']):.2f} an hour later", SPEED
    for name, decision in {
        "without_fusion": "fusing norm, ReLU and convolution",
        "without_cache_blocks": "blocks that fit the cache",
        "without_python_threads": "Python threads, but with BLAS's own",
        "without_second_core": "any second thread",
        "without_reuse": "using memory again",
        "minran_mpi": "one process: with 2 processes",
    }.items():
        this = decisions[name]
        cost = f"{1 / this['ratio']['median']:.2f}"
        if name == "minran_mpi":
            cost += f" ({ratio(this):.2f} times PyTorch's, in this run)"
        yield f"| {decision} | {cost} | {mb(this)} MB |", SPEED


def import_cost(file: str) -> float:
    """Seconds of `import minran` beyond `import numpy`."""
    rounds = json.loads((RESULTS / file).read_text())["sections"]["import"][0]["rounds"]
    kept = [each["seconds"] for each in rounds if each["kept"]]
    return statistics.median(each["minran"] - each["numpy"] for each in kept)


def scaling_and_peers() -> Iterator[Quote]:
    sizes = [(56, batch) for batch in (16, 32, 64, 128, 256)] + [(92, 64), (128, 64)]
    for place, (depth, batch) in enumerate(sizes):
        this = bench("cpu-scaling.json", place=place)
        ours, theirs = this["minran"], this[TORCH]
        relative = span(ours["to_torch"]) if batch > 64 else f"{ratio(ours):.2f}"
        start = f"| Attention-{depth}, {batch} | {1000 * seconds(ours):.0f} ms | {relative} |"
        yield f"{start} {mb(ours)}, {mb(theirs)} |", SPEED
    for place in range(3):
        this = bench("cpu-peers.json", "units", place)
        cells = [f"{1000 * seconds(this[name]):.0f}" for name in ("minran", TORCH, "torch")]
        for name, digits in (("jax", 1), ("dezero", 0 if place < 2 else 1)):
            more = 1 / this[name]["ratio"]["median"]
            unit = " times minran's" if name == "jax" and place == 0 else ""
            cells.append(f"{1000 * seconds(this[name]):.0f} ({more:.{digits}f}{unit})")
        yield f"| {' | '.join(cells)} |", SPEED
    for kind, words in {
        "conv2d 1x1": "convolutions of one pixel take {} times PyTorch's time",
        "conv2d 3x3": "those of 3 x 3 {} times it",
        "max_pool2d": "max-pool {} times it",
    }.items():
        ops = json.loads((RESULTS / "cpu-ops.json").read_text())["sections"]["ops"]
        here = [each for each in ops if each["title"].startswith(kind)]
        both = [each["contenders"][0] for each in here if each["options"]["backward"]]
        times = [ratio(each) for each in both]
        yield words.format(f"{min(times):.1f} to {max(times):.1f}"), SPEED
    step = summary(minran.create_model("attention56_cifar"))
    roof = json.loads((RESULTS / "cpu-networks.json").read_text())["roofline"][0]
    yield f"{3 * 2 * 64 * step.multiply_adds / 1e9:.0f} GFLOP", SPEED
    yield f"{roof['bytes'] / 1e9:.0f} GB of feature maps", SPEED
    yield f"the step moves {roof['bytes'] / 1e9:.1f} GB", SPEED
    yield f"how long {roof['bytes'] / 1e9:.0f} GB take", SPEED


def cores() -> Iterator[Quote]:
    """Threads and processes on two cores, and what Amdahl's law makes of it on more."""
    found = json.loads((RESULTS / "cpu-cores.json").read_text())["sections"]["cores"]
    for row in found:
        ours = {each["name"]: each for each in row["contenders"]}
        all_kernels, count = report.whole(row), "one core"
        cells = [span(ours["minran"]["to_torch"]), "", "", ""]
        if row["cores"] == 2:
            serial = f"{report.alone(all_kernels, 2):.0%}"
            shares = f"{report.utilisation(all_kernels):.2f}", serial
            cells = [*(span(ours[name]["to_torch"]) for name in ("minran", "minran_mpi")), *shares]
            count = "two cores"
        quote = " | ".join(cells).replace("|  ", "| ")
        yield f"| batch {row['options']['batch']}, {count} | {quote}".rstrip(), SPEED
    steps = bench("cpu-decisions.json")
    one = 1 / steps["without_second_core"]["ratio"]["median"]  # time, relative to two threads
    two = 1 / steps["minran_mpi"]["ratio"]["median"]
    yield f"a second thread makes the step {one:.2f} times as fast", SPEED
    yield f"a second process {one / two:.2f} times", SPEED
    serial = report.amdahl(one, 1, 2)
    yield f"gives a serial part of {100 * serial:.0f}%", SPEED
    most = (1 / (serial + (1 - serial) / count) for count in (2, 4, 8, 16))
    yield f"| {' | '.join(f'{times:.2f}' for times in most)} |", SPEED


def on_a_gpu() -> Iterator[Quote]:
    file = "gpu/gpu-tf32-64-512.json"
    for place, batch in enumerate((64, 512)):
        this = bench(file, place=place)
        best = this[TORCH] if batch == 64 else this["torch"]
        other = 1 / best["ratio"]["median"]
        ours = this["minran_captured"]
        cells = [ms(ours), ms(this["minran"]), ms(this["torch"])]
        memory = f"{mb(ours, 'device_bytes')} / {mb(best, 'device_bytes')} MB"
        if batch == 64:
            low, high = 1 / best["ratio"]["high"], 1 / best["ratio"]["low"]
            times = f"{other:.1f} ({low:.1f} to {high:.1f})"
            cells.append(f"{ms(best)}: {times.replace(' ', ' times ', 1)} the captured step")
            share = ours["device_bytes"] / best["device_bytes"]
            all_steps = f"160,000 of them are {160_000 * seconds(ours) / 60:.0f} minutes"
            yield f"took {ms(ours)}, so that {all_steps}", REPLICATIONS
            yield f"| {ms(ours)} | {ms(best)} | {times} |", LEDGER
            yield f"| {memory.replace(' / ', ' MB | ')} | {share:.2f} |", LEDGER
            yield f"{other:.1f} times as fast", README
            yield f"{share:.1f} times its memory", README
        else:
            cells[2] += f": {other:.1f} times"
            cells.append("not done in time")
        yield f"| {batch} | {' | '.join(cells)} | {memory} |", ON_A_GPU
    traced = (RESULTS / "gpu" / "kernels-128.txt").read_text()
    captured = float(re.search(r"captured ms ([\d.]+)", traced)[1])
    eager = bench("gpu/first-call-128.json")[TORCH]
    yield f"captured step took {captured:.2f} ms", ON_A_GPU
    low, high = (1000 * eager["seconds"][key] for key in ("low", "high"))
    yield f"{ms(eager)} ({low:.1f} to {high:.1f}, 5 rounds", ON_A_GPU
    yield f"That is {1000 * seconds(eager) / captured:.1f} times", ON_A_GPU
    kernels = re.findall(r"^ +([\d.]+) ms +\d+ x +[\d.]+ us +(?:void )?(\w+)$", traced, re.M)
    convolutions = sum(float(time) for time, name in kernels if name.startswith("conv_"))
    every = float(re.search(r"sum ms ([\d.]+)", traced)[1])
    yield f"convolutions take {convolutions:.1f} of {every:.1f} ms", ON_A_GPU
    small = {"scale_and_shift", "moments_of_tiles", "sums_of_tiles", "sum_of_slices"}
    small |= {"cupy_copy__float64_float32", "batch_statistics"}
    few = sum(float(time) for time, name in kernels if name in small)
    yield f"about {few:.1f} ms are launches of a few numbers per channel", ON_A_GPU
    passed = re.search(r"\d+ passed", (ROOT / ON_A_GPU).read_text())[0]
    yield f"({passed} at ccda4c7;", "docs/results/owed.md"
    yield f"{passed}, 19 skipped (ccda4c7", ON_A_GPU


def cells(table: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The cells of an ablation, by the first word of the row and the column."""
    found = json.loads((RESULTS / "ablations-nano" / f"{table}.json").read_text())["cells"]
    return {(cell["row"].split()[0], cell["column"]): cell for cell in found}


def in_small() -> Iterator[Quote]:
    table = cells("table3")
    residual, naive = (
        [c for (row, _), c in table.items() if row == r] for r in ("residual", "naive")
    )
    low, high = (of(cell["mean"] for cell in residual) for of in (min, max))
    worst = [of(cell["mean"] for cell in naive) for of in (min, max)]
    between = f"between {low:.0f} and {high:.0f}% at every depth"
    yield (
        f"{between} with the 1 in (1 + M) T; from {worst[0]:.0f} to {worst[1]:.0f}% without",
        README,
        FRONT,
    )
    yield f"stays {between}", IN_SMALL
    differences = [f"+{c['difference']:.1f} ± {c['margin']:.1f}" for c in naive]
    yield f"| {', '.join(differences)} points |", LEDGER
    few, many = (f"+{c['difference']:.2f} ± {c['margin']:.2f}" for c in (naive[0], naive[3]))
    yield f"residual is {few} points, with four {many}", REPLICATIONS
    weights = minran.create_model("attention56_cifar").num_parameters()
    yield f"`minran summary attention56_cifar` counts {weights:,}.", REPLICATIONS
    *some, last = (f"{cell['difference']:.1f}" for cell in naive)
    yield f"falls behind by {', '.join(some)} and {last} points", IN_SMALL
    apart = [f"{value:.0f}" for value in naive[2]["values"]]
    yield (
        f"({apart[0]}, {apart[1]} and {apart[2]}%) that the margin is {naive[2]['margin']:.0f}",
        IN_SMALL,
    )
    runs = sorted(naive[2]["values"])
    yield f"from {runs[0]:.0f} to {runs[-1]:.0f}%", "notebooks/14_tables_in_small.py"
    figure = cells("figure4")
    stages = ("stage 1", "stage 2", "tail")
    more = [f"{figure['residual', s]['mean'] / figure['naive', s]['mean']:.0f}" for s in stages]
    yield f"| {more[0]}, {more[1]} and {more[2]} times after stages 1, 2 and the tail |", LEDGER
    margins = [
        c["margin"]
        for name in ("table1", "table4", "table5")
        for c in cells(name).values()
        if "margin" in c
    ]
    yield f"margins ({min(margins):.0f} to {max(margins):.0f} points)", IN_SMALL


def masks() -> Iterator[Quote]:
    """The masks of three quickstart networks."""
    page = "notebooks/13_seeing_attention.py"
    found = json.loads((RESULTS / "quickstart" / "masks.json").read_text())
    seeds = [f"seed {seed}" for seed in range(3)]

    def span(values: Iterable[float], digits: int) -> str:
        low, *_, high = sorted(values)
        return f"{low:.{digits}f} to {high:.{digits}f}"

    parts = [found["variance_parts"][seed] for seed in seeds]
    third = [[100 * part["stage 3"][k] for part in parts] for k in (1, 3)]
    second = span((100 * part["stage 2"][3] for part in parts), 0)
    first = span((100 * part["stage 1"][3] for part in parts), 0)
    yield f"{span(third[0], 0)}% of the variance in stage 3 is image x channel", page
    yield f"only {span(third[1], 0)}% depend on the position in the image", page
    yield f"{first}% in stage 1 and {second}% in stage 2", page


def gates() -> Iterator[Quote]:
    """Networks with five gates, and the shares of wrong labels before and after gates."""
    page = "docs/results/gates/README.md"
    logs = ROOT / "minran" / "workshop" / "course" / "logs"
    runs = json.loads((logs / "gates.json").read_text())

    def of(kind: str, epoch: int, choose: Any, digits: int = 2) -> str:
        rows = [r["rows"][epoch] for r in runs if (r["kind"], r["rate"]) == (kind, 0.3)]
        found = sorted(map(choose, rows))
        return f"{found[0]:.{digits}f} to {found[-1]:.{digits}f}"

    def accuracies(kind: str, rate: float) -> str:
        found = [run for run in runs if (run["kind"], run["rate"]) == (kind, rate)]
        return ", ".join(f"{100 * run['rows'][-1]['test_accuracy']:.1f}%" for run in found)

    yield f"| naive, a third of the rate | M T | {accuracies('naive', 0.1)} |", page
    for kind in dict.fromkeys(run["kind"] for run in runs):
        yield f"| {accuracies(kind, 0.3)} |", page
        past = [
            ", ".join(of(kind, epoch, lambda row, k=k: row["past"][k]) for k in (3, 7))
            for epoch in (0, -1)
        ]
        growth = [
            of(kind, epoch, lambda row: row["gradients"][0] / row["gradients"][-1], 1)
            for epoch in (0, -1)
        ]
        cells = [*past, *growth]
        yield f"| {kind} | {' | '.join(cells)} |", page
    page, runs = (
        "docs/results/label-filter/README.md",
        json.loads((logs / "label_filter.json").read_text()),
    )
    changes = {
        kind: [
            [100 * (a - b) for a, b in zip(row["after"], row["before"])]
            for run in runs
            for row in run["rows"]
            if run["kind"] == kind
        ]
        for kind in ("residual", "naive")
    }
    most = [f"{max(abs(x) for row in rows for x in row):.1f}" for rows in changes.values()]
    lower = sorted(-x for row in changes["residual"][8::9] for x in row)
    words = f"residual gates by at most {most[0]} points in any epoch, at naive ones by at most "
    words += most[1]
    trace = f"all six residual gates, by {lower[0]:.1f} to {lower[-1]:.1f} points"
    for text in (words, trace):
        yield text, "notebooks/15_noisy_labels.py"
        yield text, page
    for run in runs:
        row = run["rows"][-1]
        cells = [
            ", ".join(f"{100 * a:.1f} -> {100 * b:.1f}" for a, b in zip(row[one], row[other]))
            for one, other in (("before", "after"), ("update_before", "update_after"))
        ]
        about = f"{100 * run['wrong']:.1f} | {100 * row['test_accuracy']:.1f}%"
        yield f"| {run['kind']}, {run['seed']} | {about} | {' | '.join(cells)} |", page


def labels() -> Iterator[Quote]:
    """Training on with wrong labels, three seeds."""
    page = "notebooks/15_noisy_labels.py"
    runs = json.loads((RESULTS / "quickstart" / "noisy-labels.json").read_text())["runs"]

    def of(kind: str, key: str, choose: Any) -> list[float]:
        return sorted(100 * choose(run[key]) for run in runs[kind].values())

    def last(values: list[float]) -> float:
        return values[-1]

    def span(values: list[float]) -> str:
        return f"{values[0]:.0f} to {values[-1]:.0f}%"

    yield f"{span(of('fixed', 'given_back', last))} of the wrong labels", page
    yield f"{span(of('drawn anew', 'given_back', last))} if they are drawn anew", page
    lowest, end = (span(of("drawn anew", "test_accuracy", how)) for how in (min, last))
    yield f"is {lowest} with labels drawn anew, and {end} at the end", page
    yield f"never below {int(of('clean', 'test_accuracy', min)[0])}% with clean", page


def counted() -> Iterator[Quote]:
    """What the code itself says."""
    cifar, imagenet = (
        summary(minran.create_model(f"attention56{name}")) for name in ("_cifar", "")
    )
    held = f"{100 * cifar.mask_parameters / cifar.parameters:.0f}%"
    done = f"{100 * cifar.mask_multiply_adds / cifar.multiply_adds:.0f}%"
    larger = f"{100 * imagenet.mask_parameters / imagenet.parameters:.0f}%"
    yield f"{imagenet.parameters:,} parameters, {imagenet.multiply_adds / 1e9:.3f} G", README
    yield f"| {imagenet.multiply_adds / 1e9:.3f} G (the paper: 6.3 G) |", LEDGER
    following, deep, deepest = (
        summary(minran.create_model(f"attention{name}")) for name in ("next56", "92", "452_cifar")
    )
    both = " and ".join(
        f"{found.parameters / 1e6:.2f} M, {found.multiply_adds / 1e9:.2f} G"
        for found in (imagenet, following)
    )
    yield f"| {both} |", "docs/paper/errata.md"
    millions, work = deep.parameters / 1e6, deep.multiply_adds / 1e9
    yield f"| {millions:.2f} M, {work:.2f} G |", "docs/paper/errata.md"
    yield f"| {deepest.parameters_without_norm / 1e6:.2f} M (without", "docs/paper/errata.md"
    whole, limits = "notebooks/11_whole_network.py", "notebooks/18_limits.py"
    yield f"hold {held} of the parameters of Attention-56 on CIFAR and do {done} of its work", whole
    yield f"has {larger} of its parameters in the masks, the one on CIFAR {held}.", whole
    yield (
        f"accordingly: {held} of the parameters of Attention-56 on CIFAR, {done} of its work",
        limits,
    )


def quotes() -> Iterator[Quote]:
    for part in (
        training,
        fine_tuning,
        compared,
        few_pictures,
        imagenet_recipes,
        equal_cost,
        grading,
        live_page,
        memory,
        instructions,
        stages,
        speed,
        scaling_and_peers,
        cores,
        on_a_gpu,
        in_small,
        masks,
        gates,
        labels,
        counted,
    ):
        yield from part()


NOT_MEASURED: dict[str, tuple[str, ...]] = {
    # Names and places, on any page.
    "": (
        r"arXiv:\S+",
        r"section \d\.\d",
        r"cuDNN \d\.\d+",
        r"Python 3\.\d+",
        # What a notebook declares, and `pytest notebooks` holds it to.
        r"seconds: \d+ minutes: \d+",
        r"\d+ minutes to read and do; runs in \d+ seconds",
    ),
    "docs/results/imagenet-recipes/README.md": (r"optimizer\.lr = 0\.004",),
    "docs/results/equal-cost/README.md": (
        "agree within 8%",
        "agree within 3%",
        "95% interval",
    ),
    # The paper's figures, and those of others.
    "docs/paper/faq.md": (
        r"more than 95%",
        r"its 1\.9 M",
        r"has 4\.99% error",
        r"6\.24% against 5\.52%",
        r"70% noise 15\.75% error against 17\.21%",
    ),
    "docs/paper/authors.md": (
        r"0\.1, divided by 10 at 200 k",
        r"momentum 0\.9",
        r"\| 21\.76 \| 5\.9 \|",
        r"\| 21\.2 \| 5\.6 \|",
        r"\| 19\.5 \| 4\.8 \|",
    ),
    REPLICATIONS: (
        r"\| 14\.43 \| 16\.15 \|",
        r"\| 19\.30 \| 20\.22 \|",
        r"\| 5\.28 \| 9\.03 \|",
        r"\| 16\.59 \| 17\.95 \|",
        r"\| 14\.16 \| 16\.30 \|",
        r"\| 5\.52 \| 5\.89 \|",
        r"12\.63, 13\.18 \| 13\.29, 14\.33 \| 12\.02, 14\.15 \|",
        r"18\.94, 19\.79 \| 23\.82, 26\.34 \| 24\.30, 27\.01 \|",
        r"36\.20, 40\.05",
        r"16\.21, 25\.57",
        r"13\.56, 17\.60 \| 14\.70, 14\.24 \| 13\.54, 13\.86 \|",
        r"4\.99, 5\.35 \| 4\.44, 5\.57 \| 4\.31, 7\.18 \|",
        r"hold against 5\.52",
        r"87\.44% of the augmented training images and 84\.06% of",
        r"14\.43 against 16\.15",
        r"85\.12% \(residual\) and 84\.10% \(naive\)",
        r"5\.28 is lower than the paper's 5\.52",
        r"3\.27 of training",
        r"88\.86% of them right",
        r"85\.40% for them and 75\.92% for",
        r"5\.28 says nothing",
        r"9\.03 minus 5\.28",
        r"for Attention-56 is 0\.37",
    ),
    # 224 * 224 * 3 bytes a picture.
    "docs/howto/imagenet.md": (r"ImageNet's 1\.28 million 193 GB",),
    "docs/paper/open.md": (r"\(1\.9 M, 5\.1 M\)", r"PyTorch's: 0\.1"),
    "docs/paper/errata.md": (
        r"51\.3 M parameters, 10\.4 G",
        r"31\.9 M parameters, 6\.3 G",
        r"8\.6 M parameters",
        r"it would be 8\.50 M",
    ),
    LEDGER: (r"\+0\.37, \+0\.36, \+1\.13, \+2\.87", r"0\.7 to 1\.5 points", r"the paper: 6\.3 G"),
    "docs/results/owed.md": (
        r"paper: 5\.52 %",
        # Aims and guesses.
        r"at least 1\.5 times",
        r"under 5 s",
    ),
    "notebooks/08_soft_mask.py": (r"hourglass 5\.52%, local convolutions 6\.48%",),
    "notebooks/09_residual_attention.py": (r"differ by 0\.4 points",),
    "notebooks/10_attention_activations.py": (
        r"mixed 5\.52%, channel 6\.24%, spatial 6\.33%",
        r"an error of 6%",
        r"0\.7 points",
        r"0\.09 points",
    ),
    "notebooks/14_tables_in_small.py": (
        r"5\.52% and 6\.24%",
        r"6\.61 . 0\.16%",
        r"0\.7 points",
        # Probabilities, and numbers of an exercise.
        r"95% \(Welch",
        r"95% interval",
        r"2,000 times",
        r"error 85%",
        r"above 90%",
        r"(power is|power of|in|one asks for) \d+%",
        r"difference of 5 points",
    ),
    "notebooks/16_bug_clinic.py": (r"0\.4 points in the paper's Table 3",),
    # Aims, and how long a command takes, roughly.
    SPEED: (
        r"process(es)? \| \d\.\d+",
        r"\| 0\.3 s",
        r"The aims were 1\.6 at batch 16, which the median of this run reaches, and less than 7%",
    ),
    "docs/results/README.md": (r"\| \d+ min( at most)? \|",),
    # What follows from a definition or a size.
    "docs/howto/processes.md": (r"Python 3\.1[24]",),
    # What an augmentation draws.
    "docs/howto/own-pictures.md": (r"0\.08 to 1 of the area", r"multiplied by 0\.6 to 1\.4"),
    "minran/data/augment.py": (r"8% to 100%",),
    "docs/howto/mirror.md": (r"200 kB a second",),
    TRAIN: (r"\(170 MB\)",),
    "minran/data/cifar.py": (r"\(170 MB\)",),
    "docs/howto/fine-tune.md": (r"optimizer\.lr=0\.\d+",),
    "docs/results/fine-tuning/README.md": (r"(optimizer\.lr=|scratch-)0\.\d+",),
    IN_SMALL: (r"95% margin", r"70% wrong labels", r"90% of guessing"),
    "notebooks/11_whole_network.py": (r"more than 95%",),
    "notebooks/15_noisy_labels.py": (
        r"70% of the labels",
        r"up to 50%",
        r"60% of the cats",
        r"has 4\.99%",
        r"has 5\.46%",
    ),
    "notebooks/17_numpy_to_cuda.py": (r"67 MB: more", r"495 TFLOP/s", r"map of 4 MB"),
    "notebooks/18_limits.py": (r"46% of the \*trunk\* depth and 69% of the",),
    "minran/inspect/gradients.py": (r"90% of the influence",),
    "minran/inspect/summary.py": (r"below 1% of Attention-56",),
    "minran/optim/schedules.py": (r"2 times lr",),
    "minran/workshop/ablate/command.py": (r"10 to 70% wrong labels",),
}
"""Patterns of numbers that no run gave, by page; "" is for all pages."""

ELSEWHERE = ("docs/teach/", "docs/paper/architecture.md")
"""Numbers made up for exercises, weights of a rubric; counts that test_docs.py compares."""
