"""Predictions of the chosen model: each stage and each member of an ensemble, then the ensemble, then the postprocessing."""

from __future__ import annotations

import argparse
import glob
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ...errors import CommandError
from ...folders import inherited, read_json
from ...prediction.images.cases import find_cases, name_of
from ...preprocessing.record import digest_of
from ...system import available_cores
from .. import predict
from .choosing import Chosen
from .options import Options

__all__ = ["STAGES", "Prediction"]

STAGES = "stages"
"""Folder beside the segmentations with what comes before them: a folder for each model."""

STATE = "auto.json"
"""File in it that says of which images and models the predictions are, and which are finished."""


class Prediction:
    """The images of a run.

    Args:
        options: with `images` and `output`.
        plans: their name.
        chosen: the models.
    """

    def __init__(self, options: Options, plans: str, chosen: Chosen) -> None:
        assert options.images is not None
        assert options.output is not None
        self._options, self._plans, self._chosen = options, plans, chosen
        self._images, self.output = options.images, options.output
        self._stages = options.output / STAGES
        self._ending = str(read_json(options.preprocessed / "dataset.json")["file_ending"])
        self._configurations = read_json(options.preprocessed / f"{plans}.json")["configurations"]

    @property
    def segmentations(self) -> list[Path]:
        """The files that are to be made."""
        found, _ = find_cases(str(self._images), self._ending)
        return [self.output / f"{name_of(files[0], self._ending)}{self._ending}" for files in found]

    def is_finished(self) -> bool:
        """Whether an earlier run has made all of them from these images by these models."""
        done = self._state().get("finished", {})
        wanted = self.segmentations
        stamps = self._stamps()
        return bool(wanted) and all(file.is_file() and done.get(file.name) == stamps[file.name] for file in wanted)

    def run(self) -> list[Path]:
        """Predict what is missing. Returns the segmentations of skipped cases. Raises CommandError and PredictionError."""
        wanted = self.segmentations
        if not wanted:
            raise CommandError(f"[-i] expected images that end with {self._ending}, got none in {self._images}")
        stamps = self._stamps()
        for name, stamp in self._state().get("images", {}).items():
            if stamps.get(name) != stamp:  # of another image or model
                for file in self._stages.glob(f"*/{glob.escape(name.removesuffix(self._ending))}.*"):
                    file.unlink()
        self._write(stamps, {})
        several = len(self._chosen.configurations) > 1
        folders = [self._predict(name, probabilities=several) for name in self._chosen.configurations]
        self._postprocess(self._ensemble(folders) if several else folders[0])
        missing = [file for file in wanted if not file.is_file()]
        self._write(stamps, {file.name: stamps[file.name] for file in wanted if file not in missing})
        return missing

    def _predict(self, configuration: str, probabilities: bool) -> Path:
        """Predict with one model, and with those before it in a cascade."""
        previous = inherited(self._configurations, configuration, "previous_stage")
        before = None if previous is None else self._predict(str(previous), probabilities=False)
        folder = self._stages / configuration
        words = ["-i", str(self._images), "-o", str(folder), "-m", str(self._model(configuration)), "--continue_prediction"]
        words += ["-f", *map(str, self._options.folds), "-device", self._options.device]
        words += ["--save_probabilities"] if probabilities else []
        words += [] if before is None else ["-prev_stage_predictions", str(before)]
        parser = argparse.ArgumentParser()
        predict.add_arguments(parser)
        args = parser.parse_args(words)
        settings = self._options.settings
        args.memory_budget, args.on_bad_case, args.patience = settings.memory_budget, settings.on_bad_case, settings.patience
        predict.predict(args)  # bad cases that are skipped are listed, and have no segmentation
        return folder

    def _ensemble(self, folders: list[Path]) -> Path:
        from nnunetv2.ensembling.ensemble import ensemble_folders

        out = self._stages / "ensemble"
        shutil.rmtree(out, ignore_errors=True)
        ensemble_folders([str(folder) for folder in folders], str(out), num_processes=available_cores())
        return out

    def _postprocess(self, source: Path) -> None:
        """Each segmentation appears as a whole."""
        from batchgenerators.utilities.file_and_folder_operations import load_pickle
        from nnunetv2.postprocessing.remove_connected_components import apply_postprocessing_to_folder

        functions, arguments = load_pickle(str(self._chosen.postprocessing))
        with tempfile.TemporaryDirectory(dir=self._stages, prefix=".postprocessing-") as beside:
            apply_postprocessing_to_folder(
                str(source),
                beside,
                functions,
                arguments,
                str(self._chosen.plans),
                str(self._options.preprocessed / "dataset.json"),
                num_processes=available_cores(),
            )
            for file in self.segmentations:
                made = Path(beside, file.name)
                if made.is_file():  # else the case was bad
                    made.replace(file)

    def _model(self, configuration: str) -> Path:
        return self._options.results / f"{self._options.trainer}__{self._plans}__{configuration}"

    def _digest(self) -> str:
        """Of everything that decides the segmentation of an image."""
        names = set(self._chosen.configurations)
        names |= {str(before) for name in names if (before := inherited(self._configurations, name, "previous_stage"))}
        folders = [self._model(name) / f"fold_{fold}" for name in sorted(names) for fold in self._options.folds]
        files = [*(folder / "checkpoint_final.pth" for folder in folders), self._chosen.postprocessing]
        return digest_of([_stamp(file) for file in files], self._chosen.configurations)

    def _stamps(self) -> dict[str, Any]:
        """For each segmentation, a digest of its images and the models."""
        models = self._digest()
        found, _ = find_cases(str(self._images), self._ending)
        return {
            f"{name_of(files[0], self._ending)}{self._ending}": digest_of([_stamp(Path(file)) for file in files], models)
            for files in found
        }

    def _state(self) -> dict[str, Any]:
        try:
            found = json.loads((self._stages / STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, images: dict[str, Any], finished: dict[str, Any]) -> None:
        self._stages.mkdir(parents=True, exist_ok=True)
        beside = self._stages / f".{STATE}.new"
        beside.write_text(json.dumps({"images": images, "finished": finished}, indent=2) + "\n", encoding="utf-8")
        beside.replace(self._stages / STATE)


def _stamp(file: Path) -> list[Any]:
    status = file.stat()
    return [str(file), status.st_size, status.st_mtime_ns]
