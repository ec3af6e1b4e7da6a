"""The final validation of a training: its cases go the way of all predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch._dynamo import OptimizedModule

from .export import Deciding
from .outputs import remove_leftovers
from .pipeline import failure
from .session import Session

__all__ = ["predicting_validation"]


class _Course:
    """One final validation, from its first case to its last."""

    def __init__(self, trainer: Any, save_probabilities: bool, threads: int | None, say: Callable[[str], None]) -> None:
        self.trainer = trainer
        self.loaded: tuple[str, dict[str, Any]] | None = None  # the case that was loaded last, and its properties
        self._save_probabilities = save_probabilities
        self._threads = threads
        self._say = say
        self._session: Session | None = None

    def session(self, predictor: Any) -> Session:
        """Return the one session of all cases."""
        if self._session is None:
            self._session = Session(
                predictor, save_probabilities=self._save_probabilities, threads=self._threads, progress=False, say=self._say
            )
        return self._session

    def abandon(self) -> None:
        """Remove what was begun and is not complete."""
        if self._session is not None:
            self._session.abandon()

    def predict(self, predictor: Any, image: torch.Tensor) -> Any:
        """Return logits, or what was decided of them where nothing else needs them."""
        session = self.session(predictor)
        if self.loaded is None or self.trainer.configuration_manager.next_stage_names is not None:
            return session.logits(image)
        case, properties = self.loaded
        target = Path(self.trainer.output_folder, "validation", case)
        predicted = session.predict(case, image, properties, str(target))
        return _Decided(predicted) if isinstance(predicted, Deciding) else predicted

    def export(
        self, prediction: Any, properties: dict[str, Any], _configuration: Any, _plans: Any, _dataset: Any, target: str, *_: Any
    ) -> None:
        """As nnU-Net's `export_prediction_from_logits`."""
        assert self._session is not None
        try:
            self._session.export(prediction.deciding if isinstance(prediction, _Decided) else prediction, properties, target)
        except Exception as error:
            raise failure(Path(target).name, "export", error) from error

    def resample_and_save(
        self,
        logits: Any,
        shape: Any,
        target: str,
        plans: Any,
        configuration: Any,
        properties: dict[str, Any],
        dataset_json: Any,
        *rest: Any,
    ) -> None:
        """As nnU-Net's function of that name, by which the next stage of a cascade gets labels of its own shape."""
        from nnunetv2.inference.export_prediction import resample_and_save

        assert self._session is not None
        decide = self._session.deciding_as(properties)
        if decide is not None:
            # nnU-Net still writes the file, and finds that the resized logits are labels.
            labels = _With(plans.get_label_manager(dataset_json), convert_logits_to_segmentation=lambda decided: decided)
            plans = _With(plans, get_label_manager=lambda _: labels)
            configuration = _With(configuration, resampling_fn_probabilities=lambda logits, shape, *_: decide(logits, shape))
        resample_and_save(logits, shape, target, plans, configuration, properties, dataset_json, *rest)


class _With:
    """An object, some of whose attributes are others."""

    def __init__(self, thing: Any, **others: Any) -> None:
        self.__dict__.update(others)
        self._thing = thing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._thing, name)


class _Decided:
    """Stands for the logits of a case whose labels are decided already."""

    def __init__(self, deciding: Deciding) -> None:
        self.deciding = deciding

    def cpu(self) -> _Decided:
        """Return itself: it is there."""
        return self


def _predictor_of(course: _Course, kind: type[Any]) -> type[Any]:
    class Predictor:
        """Stands for nnU-Net's predictor as far as the final validation uses it."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._predictor = kind(*args, **kwargs)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._predictor, name)

        def manual_initialization(self, *args: Any, **kwargs: Any) -> None:
            """As nnU-Net's."""
            self._predictor.manual_initialization(*args, **kwargs)
            # Nobody gives parameters here, for the network has them already.
            network = self._predictor.network
            self._predictor.list_of_parameters = [
                (network._orig_mod if isinstance(network, OptimizedModule) else network).state_dict()
            ]

        def predict_sliding_window_return_logits(self, image: torch.Tensor) -> Any:
            """As nnU-Net's, but what is returned is only good for being exported."""
            return course.predict(self._predictor, image)

    return Predictor


@contextmanager
def predicting_validation(
    trainer: Any, save_probabilities: bool, threads: int | None, say: Callable[[str], None]
) -> Iterator[None]:
    """Inside, the `perform_actual_validation` that is nnUNetTrainer's own predicts as `fastnnunet predict` does.

    Labels are decided while the windows pass, where no next stage of a cascade needs the logits; else the logits are resized
    and decided in one pass.
    """
    from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as module

    course, known = _Course(trainer, save_probabilities, threads, say), trainer.dataset_class

    class Remembering(known):  # type: ignore[misc, valid-type]
        """As the trainer's, and tells which case was loaded last."""

        def load_case(self, identifier: str) -> Any:
            """As the trainer's."""
            case = super().load_case(identifier)
            course.loaded = identifier, case[-1]
            return case

    Remembering.__name__ = known.__name__
    before: dict[str, Any] = {
        name: getattr(module, name, None) for name in ("nnUNetPredictor", "export_prediction_from_logits", "resample_and_save")
    }
    if None in before.values():  # a training must not end without its validation
        say(f"validating as nnU-Net does: expected {', '.join(before)} in {module.__name__}, got a version without")
        yield
        return
    module.nnUNetPredictor = _predictor_of(course, before["nnUNetPredictor"])
    module.export_prediction_from_logits = course.export
    module.resample_and_save = course.resample_and_save
    trainer.dataset_class = Remembering
    if trainer.local_rank == 0:
        remove_leftovers(Path(trainer.output_folder, "validation"))
    try:
        yield
    except BaseException:
        course.abandon()
        raise
    finally:
        trainer.dataset_class = known
        for name, value in before.items():
            setattr(module, name, value)
