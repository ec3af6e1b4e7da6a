"""nnU-Net's predictor of a trained model, as a command makes it: in any process that is told the same options."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...checkpoints import naming_checkpoints
from ...errors import CommandError

__all__ = ["PredictorOptions", "load_predictor"]


@dataclass(frozen=True)
class PredictorOptions:
    """Options of nnUNetv2_predict that its predictor is made of."""

    model: str
    """Folder of the trained model."""
    folds: tuple[int | str, ...]
    checkpoint: str
    device: str
    """"cuda", "cpu" or "mps"."""
    step_size: float
    mirroring: bool
    on_device: bool
    """Whether the results of windows stay on the device."""
    verbose: bool
    threads: int | None = None
    """Threads of a network on the CPU; None for the cores of this process."""

    @classmethod
    def of(cls, args: Any, model: Path, device: str) -> PredictorOptions:
        """Return those of a command's arguments."""
        return cls(
            str(model),
            tuple(args.f),
            args.chk,
            device,
            args.step_size,
            not args.disable_tta,
            not args.not_on_device,
            args.verbose,
        )


def load_predictor(options: PredictorOptions, greet: Callable[[Any], None] = lambda _: None) -> Any:
    """Return an initialised nnUNetPredictor.

    greet: called with nnU-Net's command before the model is loaded.

    Raises:
        CommandError: there is no such device.
    """
    import torch
    from tqdm import tqdm

    from ...system import available_cores

    if options.device == "cuda":
        if not torch.cuda.is_available():
            raise CommandError("[-device] expected a CUDA device, got none; -device cpu predicts without")
        torch.set_num_threads(1)  # as nnUNetv2_predict does: the GPU does the work
        if torch.get_num_interop_threads() != 1:  # torch accepts this only once per process
            torch.set_num_interop_threads(1)
    elif options.device == "cpu":
        torch.set_num_threads(options.threads or available_cores())
    tqdm.set_lock(threading.RLock())  # the default lock is a semaphore in shared memory
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor, predict_entry_point

    greet(predict_entry_point)
    predictor = nnUNetPredictor(
        tile_step_size=options.step_size,
        use_gaussian=True,
        use_mirroring=options.mirroring,
        perform_everything_on_device=options.on_device,
        device=torch.device(options.device),
        verbose=options.verbose,
        verbose_preprocessing=options.verbose,
        allow_tqdm=False,
    )
    with naming_checkpoints():
        predictor.initialize_from_trained_model_folder(options.model, options.folds, options.checkpoint)
    return predictor
