"""`python -m tests.hosts`: torchrun over two hosts, ranks killed and hosts lost; every global batch is that of one process.

It takes minutes, and needs root for the network namespaces that stand for the hosts. FASTNNUNET_TEST_CACHE keeps the data set.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "nnunet")]

import torch  # noqa: E402
from torchrun_runs import TRAINER, Batches, entries, environment, global_batches, last_batches, output  # noqa: E402
from training_runs import checkpoint, log_of  # noqa: E402

from datasets import prepared  # noqa: E402

from .namespaces import INTERFACE, Host, two_hosts  # noqa: E402

EPOCHS = 3
TRAIN = ["-m", "fastnnunet_loader", "train"]


class Trainings:
    """Of one data set, with one seed."""

    def __init__(self, root: Path, dataset: Any) -> None:
        self.root = root
        self.dataset = dataset
        self.options = [dataset.name, "3d_fullres", "0", "-tr", TRAINER, "-device", "cpu", "--seed", "5", "--threads", "1"]

    def alone(self) -> Batches:
        """The batches of one process without torchrun."""
        results = self.root / "alone"
        command = [sys.executable, *TRAIN, *self.options]
        subprocess.run(command, env=environment(self.dataset, results, epochs=EPOCHS), check=True, stdout=subprocess.DEVNULL)
        return global_batches(results, 1, 0)

    def together(self, name: str, hosts: tuple[Host, Host], *, nodes: str = "2", **asked: Any) -> tuple[Path, list[int], str]:
        """Train with a rank on each host. Returns the folder, the exit code of each torchrun and what the first one said."""
        results = self.root / name
        variables = {**environment(self.dataset, results, epochs=EPOCHS, **asked), "GLOO_SOCKET_IFNAME": INTERFACE}
        rendezvous = ["--rdzv-backend", "c10d", "--rdzv-id", name, "--rdzv-endpoint", f"{hosts[0].address}:29411"]
        patience = "last_call_timeout=3,keep_alive_interval=1,keep_alive_max_attempt=3"
        processes = []
        for number, host in enumerate(hosts):
            launcher = ["--nnodes", nodes, "--nproc-per-node", "1", "--max-restarts", "2", "--local-addr", host.address]
            launcher += [
                *rendezvous,
                "--rdzv-conf",
                f"is_host={number == 0},{patience}",
            ]  # neither is found by this machine's name
            command = [sys.executable, "-m", "torch.distributed.run", *launcher, *TRAIN, *self.options]
            with (results / f"host_{number}.txt").open("w", encoding="utf-8") as said:
                processes.append(subprocess.Popen(host.command(*command), env=variables, stdout=said, stderr=said))
        try:
            codes = [process.wait(900) for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()
        return results, codes, (results / "host_0.txt").read_text(encoding="utf-8")

    def weights(self, results: Path) -> dict[str, torch.Tensor]:
        """The final weights."""
        found: dict[str, torch.Tensor] = checkpoint(output(self.dataset, results))["network_weights"]
        return found


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def main() -> int:
    """Run all, print what holds, and return 1 if something does not."""
    given = os.environ.get("FASTNNUNET_TEST_CACHE")
    failed: list[str] = []

    def holds(what: str, true: bool) -> None:
        print(f"{'yes' if true else 'NO '}  {what}", flush=True)
        if not true:
            failed.append(what)

    with tempfile.TemporaryDirectory(prefix="fastnnunet-hosts-") as scratch, two_hosts() as hosts:
        root = Path(scratch)
        cache = Path(given) if given else root / "cache"
        trainings = Trainings(root, prepared("default", cache, root / "results"))
        begin = time.monotonic()
        expected = trainings.alone()
        one_epoch = len(expected) // EPOCHS

        whole, codes, said = trainings.together("whole", hosts)
        holds("two hosts train to the end", codes == [0, 0])
        holds("their global batches are those of one process", global_batches(whole, 2, 0) == expected)
        logs = {file.name for host in (whole,) for file in output(trainings.dataset, host).glob("training_log_*.txt")}
        holds("one log is written, by rank 0", len(logs) == 1)

        killed, codes, said = trainings.together("killed", hosts, killed=[1, 1])
        holds("a rank that is killed in the second epoch is restarted", codes == [0, 0])
        holds("all batches are those of one process", last_batches(killed, 2, EPOCHS, one_epoch) == expected)
        again = [one for one in entries(killed, 1) if one["epoch"] == 0]
        holds("the first epoch is not repeated", len(again) == one_epoch)
        holds("the final weights are those without the kill", same(trainings.weights(whole), trainings.weights(killed)))

        failing, codes, said = trainings.together("failing", hosts, failing=[1, 1])
        holds("the error of the second host is shown on the first", "error: [rank 1] ArithmeticError: divided by" in said)
        holds(
            "and the training goes on after it", codes == [0, 0] and same(trainings.weights(whole), trainings.weights(failing))
        )

        lost, codes, said = trainings.together("lost", hosts, nodes="1:2", lost=[1, 1])
        holds("the first host goes on alone when the second is lost", codes[0] == 0 and codes[1] != 0)
        after = last_batches(lost, 1, EPOCHS, one_epoch)[one_epoch:]
        holds("with the batches that would have come", after == expected[one_epoch:])
        holds("the first epoch is not repeated", sum(one["epoch"] == 0 for one in entries(lost, 0)) == one_epoch)
        log = log_of(output(trainings.dataset, lost))
        holds(
            "and its log says so", "of 2 rank(s), this training has 1. The batches are those that would have followed." in log
        )
        print(f"{time.monotonic() - begin:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
