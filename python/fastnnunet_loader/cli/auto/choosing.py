"""The best configuration, or the best pair of them, and its postprocessing: nnU-Net's own choice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...system import available_cores
from .options import Options
from .training import Training

__all__ = ["Chosen", "choose", "chosen_before"]


@dataclass(frozen=True)
class Chosen:
    """What nnU-Net writes into inference_information.json."""

    information: dict[str, Any]

    @property
    def configurations(self) -> list[str]:
        """One, or two of an ensemble."""
        return [str(model["configuration"]) for model in self._best["selected_model_or_models"]]

    @property
    def scores(self) -> dict[str, float]:
        """Mean Dice of the foreground, by model or ensemble."""
        return {str(name): float(dice) for name, dice in self.information["all_results"].items()}

    @property
    def before(self) -> float:
        """Dice before the postprocessing."""
        return float(self._best["result_on_crossval_pre_pp"])

    @property
    def after(self) -> float:
        """Dice after it."""
        return float(self._best["result_on_crossval_post_pp"])

    @property
    def postprocessing(self) -> Path:
        """The pickle of it; beside it are the predictions of the cross-validation."""
        return Path(self._best["postprocessing_file"])

    @property
    def plans(self) -> Path:
        """Plans of one of the models."""
        return Path(self._best["some_plans_file"])

    @property
    def described(self) -> str:
        """In a few words."""
        what = " and ".join(self.configurations)
        return f"{'ensemble of ' * (len(self.configurations) > 1)}{what}, Dice {self.after:.3f}"

    @property
    def _best(self) -> dict[str, Any]:
        best: dict[str, Any] = self.information["best_model_or_ensemble"]
        return best


def _models(options: Options, plans: str, configurations: Sequence[str]) -> list[dict[str, str]]:
    return [{"plans": plans, "configuration": name, "trainer": options.trainer} for name in configurations]


def chosen_before(
    options: Options, plans: str, configurations: Sequence[str], trainings: Sequence[Training], ensembling: bool
) -> Chosen | None:
    """Return the choice of an earlier run, if it was among these models and is newer than all of their validations."""
    file = options.results / "inference_information.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        asked = (found["considered_models"], found["folds"], found["ensembling_allowed"])
        newest = max(training.summary.stat().st_mtime for training in trainings)
        if asked != (_models(options, plans, configurations), list(options.folds), ensembling):
            return None
        chosen = Chosen(found)
        whole = chosen.postprocessing.is_file() and chosen.plans.is_file() and len(chosen.configurations) > 0
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return chosen if whole and file.stat().st_mtime >= newest else None


def choose(options: Options, plans: str, configurations: Sequence[str], ensembling: bool) -> Chosen:
    """Let nnU-Net choose, and find the postprocessing."""
    from nnunetv2.evaluation.find_best_configuration import find_best_configuration

    found = find_best_configuration(
        options.dataset,
        _models(options, plans, configurations),
        allow_ensembling=ensembling,
        num_processes=available_cores(),
        overwrite=True,
        folds=list(options.folds),
    )
    return Chosen(found)
