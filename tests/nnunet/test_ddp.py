"""Two ranks on the CPU, as -num_gpus 2 starts them: each with its own stream and its share of the batch."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

# nnU-Net's own DDP wants CUDA: the script's trainer moves it to the CPU, all else is nnU-Net's.
SCRIPT = """
import hashlib, json, os, sys, warnings
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def rank_main(rank, dataset, out, options):
    warnings.simplefilter("ignore")
    warnings.filterwarnings("error", message=r"\\[state\\]")
    dist.init_process_group("gloo", rank=rank, world_size=2)
    import fastnnunet_loader as fl
    fl.install(threads=1, seed=options["seed"])
    from nnunetv2.run import run_training
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    class OnCpu(nnUNetTrainer):
        def __init__(self, plans, configuration, fold, dataset_json, device):
            super().__init__(plans, configuration, fold, dataset_json, device)
            self.device, self.grad_scaler = torch.device("cpu"), None
            self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = options["epochs"], 2, 1
            self.save_every, self.lines = 1, []

        def initialize(self):
            self.is_ddp = False
            super().initialize()
            self.is_ddp = True
            self._set_batch_size_and_oversample()
            self.network = torch.nn.parallel.DistributedDataParallel(self.network, find_unused_parameters=True)

        def on_epoch_end(self):
            super().on_epoch_end()
            if self.current_epoch == options["stop_after"]:
                raise InterruptedError("stopped")

        def train_step(self, batch):
            digest = hashlib.sha256(batch["data"].numpy().tobytes()).hexdigest()
            self.lines.append([self.current_epoch, digest, len(batch["keys"])])
            return super().train_step(batch)

    run_training.recursive_find_trainer_class_by_name = lambda _: OnCpu
    trainer = run_training.get_trainer_from_args(dataset, "3d_fullres", 0, "OnCpu", continue_training=options["resume"])
    run_training.maybe_load_checkpoint(trainer, options["resume"], False)
    try:
        trainer.run_training()
    except InterruptedError:
        pass
    result = {"batches": trainer.lines, "oversample": trainer.oversample_foreground_percent}
    Path(out, f"{rank}.json").write_text(json.dumps(result))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    mp.spawn(rank_main, args=(sys.argv[1], sys.argv[2], json.loads(sys.argv[3])), nprocs=2, join=True)
"""


def ranks(dataset: Any, folder: Path, results: Path, port: int, **options: Any) -> list[dict[str, Any]]:
    folder.mkdir(parents=True)
    results.mkdir(parents=True, exist_ok=True)
    script = folder / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    chosen = {"seed": 4, "epochs": 3, "stop_after": -1, "resume": False, **options}
    environment = {
        **os.environ, **dataset.env, "nnUNet_results": str(results), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    run = subprocess.run(
        [sys.executable, str(script), dataset.name, str(folder), json.dumps(chosen)],
        env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    return [json.loads((folder / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(2)]


@pytest.fixture
def port() -> int:
    from nnunetv2.run.run_training import find_free_network_port

    return int(find_free_network_port())


def test_ranks_have_streams_and_shares_of_their_own(nnunet_dataset: Any, tmp_path: Path, port: int) -> None:
    dataset = nnunet_dataset("default")
    whole = ranks(dataset, tmp_path / "whole", tmp_path / "results", port)
    digests = [{digest for _, digest, _ in rank["batches"]} for rank in whole]
    assert [len(d) for d in digests] == [6, 6]
    assert not digests[0] & digests[1]
    # A batch of 2 with a third of forced foreground: the second sample is forced, and that is all of rank 1's.
    assert [rank["batches"][0][2] for rank in whole] == [1, 1]
    assert [rank["oversample"] for rank in whole] == [0.0, 1.0]


def test_every_rank_goes_on_exactly(nnunet_dataset: Any, tmp_path: Path, port: int) -> None:
    dataset = nnunet_dataset("default")
    # Without a given seed: one is drawn for all ranks, and comes back to all of them from rank 0's checkpoint.
    first = ranks(dataset, tmp_path / "first", tmp_path / "results", port, seed=None, stop_after=1)
    checkpoint = next((tmp_path / "results").rglob("checkpoint_latest.pth"))
    import torch

    seed = torch.load(checkpoint, map_location="cpu", weights_only=False)["fastnnunet_loader"]["loaders"][0]["seed"]
    continued = ranks(dataset, tmp_path / "second", tmp_path / "results", port, seed=None, resume=True)
    whole = ranks(dataset, tmp_path / "whole", tmp_path / "other", port, seed=seed)
    for rank in range(2):
        assert first[rank]["batches"] + continued[rank]["batches"] == whole[rank]["batches"]


def test_spawned_ranks_install_the_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    """What -num_gpus hands to torch.multiprocessing.spawn carries the settings into the new process."""
    import torch.multiprocessing as mp
    from nnunetv2.run import run_training

    import fastnnunet_loader as fl

    handed: list[Any] = []
    monkeypatch.setattr(mp, "spawn", lambda fn, *_, **__: handed.append(fn))
    fl.install(threads=3, seed=9, memory_budget="1GB", on_bad_case="skip")
    try:
        run_training.mp.spawn(run_training.run_ddp, args=(), nprocs=2)
    finally:
        fl.uninstall()
    program = "import sys, pickle; f = pickle.load(sys.stdin.buffer); print(f.settings)"
    run = subprocess.run([sys.executable, "-c", program], input=pickle.dumps(handed[0]), capture_output=True, check=True)
    said = run.stdout.decode()
    assert "threads=3" in said
    assert "seed=9" in said
    assert "on_bad_case='skip'" in said
