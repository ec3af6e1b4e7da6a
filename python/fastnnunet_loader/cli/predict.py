"""`fastnnunet predict`: nnUNetv2_predict, in one process and within a memory budget."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checkpoints import naming_checkpoints
from ..errors import CommandError
from ..folders import dataset_name, listed, read_json
from ..termination import EXIT_CODE, Terminated
from .arguments import count
from .loader_options import add_setting

if TYPE_CHECKING:
    from ..errors import PredictionError
    from ..prediction.session.session import Session

__all__ = ["add_arguments", "citation", "predict", "run"]

FOLDS = (0, 1, 2, 3, 4)

CITATION = """
Please cite the following paper when using nnU-Net:
Isensee, F., Jaeger, P. F., Kohl, S. A., Petersen, J., & Maier-Hein, K. H. (2021). nnU-Net: a self-configuring method for \
deep learning-based biomedical image segmentation. Nature methods, 18(2), 203-211.
"""
"""For an nnU-Net whose command has no such text."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nnUNetv2_predict's own arguments, with its names and defaults, and those of this package."""
    nnunet = parser.add_argument_group("options of nnUNetv2_predict and nnUNetv2_predict_from_modelfolder")
    add = nnunet.add_argument
    add(
        "-i", metavar="FOLDER", type=Path, required=True, help="folder of the images: CASE_0000 and so on, one file per channel"
    )
    add("-o", metavar="FOLDER", type=Path, required=True, help="folder for the segmentations; created if it does not exist")
    add("-d", metavar="DATASET", help="name or number of the data set that the network was trained on")
    add("-p", metavar="PLANS", help="name of the plans (default: nnUNetPlans)")
    add("-tr", metavar="TRAINER", help="trainer class (default: nnUNetTrainer)")
    add("-c", metavar="CONFIG", help="configuration of the plans, such as 3d_fullres")
    add("-m", metavar="FOLDER", type=Path, help="folder of a trained model, in place of -d, -p, -tr, -c and nnUNet_results")
    add(
        "-f",
        metavar="FOLD",
        type=_fold,
        nargs="+",
        default=FOLDS,
        help="folds whose predictions are averaged (default: 0 1 2 3 4)",
    )
    add(
        "-step_size",
        metavar="X",
        type=_step,
        default=0.5,
        help="step of the sliding window, as a share of the patch size (default: %(default)s)",
    )
    add("--disable_tta", action="store_true", help="no test-time augmentation by mirroring: faster, less accurate")
    add("--verbose", action="store_true", help="print nnU-Net's own messages")
    add("--save_probabilities", action="store_true", help="also save probabilities, for ensembling")
    add("--continue_prediction", "--c", action="store_true", help="skip cases whose output files exist already")
    add("-chk", metavar="FILE", default="checkpoint_final.pth", help="name of the checkpoint (default: %(default)s)")
    add(
        "-npp",
        metavar="N",
        type=int,
        default=3,
        help="accepted for compatibility, has no effect: no worker processes are started",
    )
    add(
        "-nps",
        metavar="N",
        type=int,
        default=3,
        help="accepted for compatibility, has no effect: no worker processes are started",
    )
    add("-prev_stage_predictions", metavar="FOLDER", type=Path, help="cascade: folder of the previous stage's segmentations")
    add("-num_parts", metavar="N", type=count, default=1, help="number of commands that share the cases (default: %(default)s)")
    add("-part_id", metavar="N", type=int, default=0, help="number of this command among them, from 0 (default: %(default)s)")
    add("-device", choices=("cuda", "cpu", "mps"), default="cuda", help="device to predict on (default: %(default)s)")
    add("--disable_progress_bar", action="store_true", help="show no progress bar")
    add("--not_on_device", action="store_true", help="keep the results of windows in main memory instead of on the device")

    ours = parser.add_argument_group("options of this package")
    add_setting(ours, "memory_budget", "memory limit of the cases in progress, such as 8GB (default: half of the free memory)")
    add_setting(ours, "on_bad_case", "if a case cannot be predicted: stop, or finish the others and list it at the end")
    add_setting(ours, "patience", "seconds for which reading an image is retried if its disk or file server does not answer")


def run(args: argparse.Namespace) -> int:
    """Predict, and say after an interruption how to go on."""
    own_process = bool(getattr(args, "own_process", False))
    try:
        return predict(args)
    except (KeyboardInterrupt, Terminated) as ending:
        said, code = ("interrupted", 130) if isinstance(ending, KeyboardInterrupt) else ("ended by SIGTERM", EXIT_CODE)
        print(f"fastnnunet: {said}; what was written is complete, --continue_prediction goes on", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        if not own_process:  # a notebook or another program, which continues
            raise
        # The threads may be deep in a computation that cannot be stopped, so nobody waits for them.
        os._exit(code)


def predict(args: argparse.Namespace) -> int:
    """Check the arguments before torch and nnU-Net are imported, then predict; return the exit code."""
    model = _model_folder(args)
    _check_arguments(args)
    os.environ.setdefault("JOBLIB_MULTIPROCESSING", "0")  # otherwise joblib makes a semaphore in shared memory
    from ..prediction.images.checks import model_problem, output_problem

    if problem := model_problem(model, args.f, args.chk):
        raise CommandError(f"[model] {problem}")
    for name in ("plans.json", "dataset.json"):
        read_json(model / name)
    if problem := output_problem(args.o):
        raise CommandError(f"[-o] {problem}")

    predictor = _load_predictor(args, model)
    if predictor.configuration_manager.previous_stage_name is not None and args.prev_stage_predictions is None:
        stage = predictor.configuration_manager.previous_stage_name
        raise CommandError(f"[-prev_stage_predictions] expected a folder with segmentations of {stage}, got none")
    from ..prediction.session.session import Session

    say: Callable[[str], None] = print
    say("fastnnunet: threads of this process prepare and export the cases; -npp and -nps have no effect")
    session = Session(
        predictor,
        save_probabilities=args.save_probabilities,
        memory_budget=args.memory_budget,
        on_bad_case=args.on_bad_case,
        patience=args.patience,
        progress=not args.disable_progress_bar,
        model=model,
        say=lambda text: say(f"fastnnunet: {text}"),
    )
    return _predict_cases(args, session, predictor)


def _predict_cases(args: argparse.Namespace, session: Session, predictor: Any) -> int:
    from ..prediction.images.cases import find_cases, pending, with_targets
    from ..prediction.images.checks import free_space_problem

    ending = predictor.dataset_json["file_ending"]
    found, bad = find_cases(str(args.i), ending)
    if not found and not bad:
        raise CommandError(f"[-i] expected images that end with {ending}, got none in {args.i}")
    previous = args.prev_stage_predictions if predictor.configuration_manager.previous_stage_name is not None else None
    cases = with_targets(found, ending, args.o, previous)[args.part_id :: args.num_parts]
    if args.continue_prediction:
        cases = pending(cases, ending, args.save_probabilities)
    print(f"fastnnunet: {len(cases)} of {len(found)} cases to predict")
    checked, refused = session.check(cases)
    bad += refused
    if bad and args.on_bad_case == "raise":
        if len(bad) > 1:
            print(f"fastnnunet: {len(bad)} cases cannot be predicted: {listed([error.case for error in bad])}", file=sys.stderr)
        raise bad[0]
    heads = int(predictor.label_manager.num_segmentation_heads)
    if problem := free_space_problem(args.o, checked, heads, args.save_probabilities):
        raise CommandError(f"[-o] {problem}")
    _write_settings(args, predictor)
    if checked:
        session.run_files(checked)
    bad += session.failures
    _report(bad, len(checked) - len(session.failures))
    return 1 if bad else 0


def _report(bad: Sequence[PredictionError], done: int) -> None:
    print(f"fastnnunet: {done} cases predicted")
    if bad:
        print(f"fastnnunet: {len(bad)} bad cases were left out:", file=sys.stderr)
        for error in bad:
            print(f"  {error}", file=sys.stderr)


def _load_predictor(args: argparse.Namespace, model: Path) -> Any:
    import torch
    from tqdm import tqdm

    from .. import available_cores

    if args.device == "cuda":
        if not torch.cuda.is_available():
            raise CommandError("[-device] expected a CUDA device, got none; -device cpu predicts without")
        torch.set_num_threads(1)  # as nnUNetv2_predict does: the GPU does the work
        if torch.get_num_interop_threads() != 1:  # torch accepts this only once per process
            torch.set_num_interop_threads(1)
    elif args.device == "cpu":
        torch.set_num_threads(available_cores())
    tqdm.set_lock(threading.RLock())  # the default lock is a semaphore in shared memory
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor, predict_entry_point

    print(citation(predict_entry_point))
    predictor = nnUNetPredictor(
        tile_step_size=args.step_size,
        use_gaussian=True,
        use_mirroring=not args.disable_tta,
        perform_everything_on_device=not args.not_on_device,
        device=torch.device(args.device),
        verbose=args.verbose,
        verbose_preprocessing=args.verbose,
        allow_tqdm=False,
    )
    with naming_checkpoints():
        predictor.initialize_from_trained_model_folder(str(model), tuple(args.f), args.chk)
    return predictor


def citation(command: Callable[..., Any]) -> str:
    """Return the text with which one of nnU-Net's commands asks for a citation."""
    constants = getattr(command, "__code__", None)
    texts = [text for text in getattr(constants, "co_consts", ()) if isinstance(text, str) and "Please cite" in text]
    return texts[0] if texts else CITATION


def _write_settings(args: argparse.Namespace, predictor: Any) -> None:
    """Write the files that nnU-Net's postprocessing and ensembling expect beside the segmentations."""
    from batchgenerators.utilities.file_and_folder_operations import save_json

    before = args.prev_stage_predictions
    given = {
        "list_of_lists_or_source_folder": str(args.i),
        "output_folder_or_list_of_truncated_output_files": str(args.o),
        "save_probabilities": args.save_probabilities,
        "overwrite": not args.continue_prediction,
        "num_processes_preprocessing": args.npp,
        "num_processes_segmentation_export": args.nps,
        "folder_with_segs_from_prev_stage": None if before is None else str(before),
        "num_parts": args.num_parts,
        "part_id": args.part_id,
    }
    save_json(given, str(args.o / "predict_from_raw_data_args.json"))
    save_json(predictor.dataset_json, str(args.o / "dataset.json"), sort_keys=False)
    save_json(predictor.plans_manager.plans, str(args.o / "plans.json"), sort_keys=False)


def _fold(text: str) -> str | int:
    if text == "all":
        return text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number or 'all', got {text!r}")
    return int(text)


def _step(text: str) -> float:
    try:
        size = float(text)
    except ValueError:
        size = 0.0
    if not 0 < size <= 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0 and not above 1, got {text!r}")
    return size


def _check_arguments(args: argparse.Namespace) -> None:
    if not args.i.is_dir():
        raise CommandError(f"[-i] expected a folder, got {args.i}")
    if not 0 <= args.part_id < args.num_parts:
        raise CommandError(f"[-part_id] expected a number from 0 to {args.num_parts - 1}, got {args.part_id}")
    if args.prev_stage_predictions is not None and not args.prev_stage_predictions.is_dir():
        raise CommandError(f"[-prev_stage_predictions] expected a folder, got {args.prev_stage_predictions}")


def _model_folder(args: argparse.Namespace) -> Path:
    """Return the folder that -m names, or the one in nnUNet_results that -d, -tr, -p and -c name."""
    named = {"-d": args.d, "-c": args.c, "-p": args.p, "-tr": args.tr}
    if args.m is not None:
        if given := [option for option, value in named.items() if value is not None]:
            raise CommandError(f"[-m] expected the folder of a model alone, got also {listed(given)}")
        return Path(args.m)
    if missing := [option for option in ("-d", "-c") if named[option] is None]:
        raise CommandError(f"[{listed(missing)}] expected -d DATASET and -c CONFIG, or -m FOLDER with the model, got neither")
    results = os.environ.get("nnUNet_results")
    if not results:
        raise CommandError(
            "[nnUNet_results] expected the environment to name nnU-Net's folder, got nothing\n"
            "  export nnUNet_results=/path/to/nnUNet_results, or give the folder of the model with -m"
        )
    dataset = Path(results) / dataset_name(args.d, "-d")
    if not dataset.is_dir():
        known = sorted(path.name for path in Path(results).glob("Dataset*") if path.is_dir())
        raise CommandError(
            f"[-d] expected the name or number of a data set with a trained network, got {args.d!r}\n"
            f"  in {results}: {listed(known)}"
        )
    return dataset / f"{args.tr or 'nnUNetTrainer'}__{args.p or 'nnUNetPlans'}__{args.c}"
