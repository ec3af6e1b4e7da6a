"""The section "How far it goes" of docs/scale.md: the text of section.md with figures of benchmarks/results/scale.json.

Rates of GPUs are not measured by benchmarks.scale: that of an A100 is nnU-Net's, that of an H200 benchmarks.training's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- python -m benchmarks.scale --markdown docs/scale.md -->", "<!-- end -->"
TEXT = Path(__file__).with_name("section.md")
TRAINING = Path(__file__).parents[1] / "results" / "training.json"

BATCH = 2  # samples, as nnU-Net plans for patches of 128^3
A100_HOURS = 9  # of a training, by nnU-Net
EPOCHS, TRAINED, VALIDATED = 1000, 250, 50  # and batches of an epoch, by nnUNetTrainer
NODE = 8  # GPUs of a node
CASES = 100_000
LINK = 10  # Gbit/s of a node
PER_PREFIX = 5500  # GET and HEAD requests per second that S3 answers for one prefix, by its documentation
KEYS = 1000  # that one LIST request of S3 returns, by its documentation
NETWORK_SECONDS = 10.0  # of a GPU, for a case: a variable
STEPS = ("read", "preprocess", "export", "write")  # of a prediction, beside the network
MIB, GB, TB = 2**20, 1e9, 1e12


class Costs:
    """What follows from what was measured."""

    def __init__(self, figures: dict[str, Any]) -> None:
        samples, cases, storage = figures["samples"], figures["cases"], figures["storage"]
        read = samples["bytes"]
        self.sample = float(samples["cpu_seconds"])
        self.efficiency = min(1.0, float(samples["scaling"]) / 2)
        """Of the second core, and by assumption of all further ones."""
        self.memory = float(samples["peak_memory"])
        self.blocks = float(read["blocks_of_a_sample"])
        self.file = float(read["image_file"] + read["labels_file"])
        self.case = self.file + float(read["properties_file"])
        self.requests = float(scene(storage, "first epoch")["requests"] / storage["files"])
        """For each file that is copied; the listing of the folder is among them."""
        self.preprocessed = float(cases["preprocessed"]["cpu_seconds"])
        self.predicted = float(sum(cases["predicted"][f"{step}_cpu_seconds"] for step in STEPS))
        """Beside the network."""

    def cores(self, samples: float, gpus: int) -> float:
        """For so many samples per second, and one for each training process."""
        return samples * self.sample / self.efficiency + gpus


def scene(storage: dict[str, Any], name: str) -> dict[str, Any]:
    (row,) = (row for row in storage["rows"] if row["scene"] == name)
    found: dict[str, Any] = row
    return found


def rates() -> dict[str, float]:
    """Batches per second that a GPU takes."""
    runs = json.loads(TRAINING.read_text(encoding="utf-8"))["runs"]["one batch"]
    h200 = sorted(run["iterations_per_second"] for run in runs)[len(runs) // 2]
    return {"A100": EPOCHS * (TRAINED + VALIDATED) / (A100_HOURS * 3600), "H200": h200}


def table(costs: Costs) -> str:
    """What 8 and 64 GPUs take."""
    kinds = [(f"{gpus} {name}", rate * BATCH * gpus, gpus) for name, rate in rates().items() for gpus in (NODE, 8 * NODE)]
    lines = ["| | " + " | ".join(name for name, _, _ in kinds) + " |", "|---|" + "---|" * len(kinds)]

    def row(name: str, text: Any) -> None:
        lines.append(f"| {name} | " + " | ".join(text(samples, gpus) for _, samples, gpus in kinds) + " |")

    row("nodes", lambda samples, gpus: f"{gpus // NODE}")
    row("samples per second", lambda samples, gpus: f"{samples:.0f}")
    row("cores", lambda samples, gpus: f"{costs.cores(samples, gpus):.0f}")
    row("cores of one node", lambda samples, gpus: f"{costs.cores(samples, gpus) * NODE / gpus:.0f}")
    row("memory of one node, at least", lambda samples, gpus: f"{NODE * costs.memory / GB:.1f} GB")
    row("from the disk of one node", lambda samples, gpus: f"{samples * NODE / gpus * costs.blocks / GB:.2f} GB/s")
    row("a whole case for each sample, one node", lambda samples, gpus: f"{samples * NODE / gpus * costs.file / GB:.2f} GB/s")
    row("a whole case for each sample, all nodes", lambda samples, gpus: f"{samples * costs.file / GB:.1f} GB/s")
    return "\n".join(lines) + "\n"


def times(shape: list[int]) -> str:
    return " x ".join(map(str, shape))


def section(figures: dict[str, Any]) -> str:
    """Return the text between the markers, with them."""
    costs, rate, facts = Costs(figures), rates(), figures["machine"]
    samples, read = figures["samples"], figures["samples"]["bytes"]
    preprocessed, predicted = figures["cases"]["preprocessed"], figures["cases"]["predicted"]
    storage, fleet = figures["storage"], figures["fleet"]
    plain, ray = fleet["runs"][:2]
    samples_8 = rate["A100"] * BATCH * NODE
    data = CASES * costs.case
    new_cases = LINK * GB / 8 / costs.case
    node_requests = new_cases * 3 * costs.requests
    values = {
        "machine": f"{facts['cores']} cores of {facts['processor']} ({facts['vectors']})",
        "commit": facts["commit"],
        "patch": times(samples["patch"]),
        "sample_ms": f"{1000 * costs.sample:.1f}",
        "one": f"{samples['per_second']['one']:.0f}",
        "two": f"{samples['per_second']['two']:.0f}",
        "scaling": f"{samples['scaling']:.2f}",
        "efficiency": f"{costs.efficiency:.2f}",
        "memory": f"{costs.memory / MIB:.0f}",
        "image": f"{read['image_file'] / MIB:.2f}",
        "labels": f"{read['labels_file'] / MIB:.2f}",
        "properties": f"{read['properties_file'] / MIB:.2f}",
        "blocks": f"{costs.blocks / MIB:.2f}",
        "file": f"{costs.file / MIB:.2f}",
        "case": f"{costs.case / MIB:.2f}",
        "voxels": f"{preprocessed['voxels'] / 1e6:.0f}",
        "preprocessed": f"{costs.preprocessed:.2f}",
        "case_one": f"{preprocessed['seconds']['one']:.2f}",
        "case_two": f"{preprocessed['seconds']['two']:.2f}",
        "case_scaling": f"{preprocessed['scaling']:.2f}",
        "image_shape": times(predicted["shape"]),
        **{step: f"{predicted[f'{step}_cpu_seconds']:.2f}" for step in STEPS},
        "predicted": f"{costs.predicted:.2f}",
        "requests_each": f"{costs.requests:.1f}",
        "megabits": storage["megabits_per_second"],
        "first_epoch": f"{scene(storage, 'first epoch')['seconds']:.1f}",
        "second_epoch": f"{scene(storage, 'second epoch')['seconds']:.1f}",
        "fleet": fleet["cases"],
        "plain_first": f"{plain['first']:.1f}",
        "plain_each": f"{plain['each']:.2f}",
        "ray_first": f"{ray['first']:.1f}",
        "ray_each": f"{ray['each']:.2f}",
        "ray_start": f"{ray['first'] - plain['first']:.0f}",
        "hours_a100": A100_HOURS,
        "epochs": EPOCHS,
        "trained": TRAINED,
        "validated": VALIDATED,
        "batches_epoch": TRAINED + VALIDATED,
        "rate_a100": f"{rate['A100']:.1f}",
        "rate_h200": f"{rate['H200']:.1f}",
        "batch": BATCH,
        "table": table(costs),
        "node_cores": f"{costs.cores(samples_8, NODE):.0f}",
        "cases": f"{CASES:,}",
        "link": LINK,
        "data_tb": f"{data / TB:.2f}",
        "data_gb": f"{data / GB:.0f}",
        "data_8": f"{8 * round(data / TB, 2):.1f}",
        "new_cases": f"{new_cases:.0f}",
        "fill": f"{8 * data / (LINK * GB) / 60:.0f}",
        "samples_8": f"{samples_8:.0f}",
        "decides": "the network decides" if new_cases < samples_8 else "the network is fast enough",
        "requests": f"{3 * CASES * costs.requests / 1e6:.1f}",
        "node_requests": f"{node_requests:.0f}",
        "per_prefix": f"{PER_PREFIX:,}",
        "prefix_nodes": f"{PER_PREFIX / node_requests:.1f}",
        **{f"disk_{name.lower()}": f"{one * BATCH * NODE * costs.blocks / GB:.2f}" for name, one in rate.items()},
        "half": f"{samples_8 / 2:.0f}",
        "half_blocks_gb": f"{samples_8 / 2 * costs.blocks / GB:.2f}",
        "half_gb": f"{samples_8 / 2 * costs.file / GB:.2f}",
        "open_ms": f"{1000 * samples['open_seconds_of_a_case']:.2f}",
        "open": f"{CASES * samples['open_seconds_of_a_case']:.0f}",
        "keys": f"{KEYS:,}",
        "lists": 3 * CASES // KEYS,
        "g": f"{NETWORK_SECONDS:.0f}",
        "predicted_cores": f"{costs.predicted / costs.efficiency / NETWORK_SECONDS:.2f}",
        "predicted_hours": f"{CASES * NETWORK_SECONDS / (8 * NODE) / 3600:.1f}",
        "preprocessed_hours": f"{CASES * costs.preprocessed / 3600:.0f}",
    }
    return f"{BEGIN}\n{TEXT.read_text(encoding='utf-8').format(**values)}{END}\n"


def write(page: Path, figures: dict[str, Any]) -> None:
    """Write the section anew."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(before + section(figures).rstrip("\n") + after, encoding="utf-8")
