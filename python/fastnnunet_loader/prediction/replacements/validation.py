"""The final validation of a training: its cases go the way of all predictions."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
from batchgenerators.utilities.file_and_folder_operations import load_pickle
from torch._dynamo import OptimizedModule

from ... import known
from ...loading.reading.pickles import read_properties
from ..export.export import Deciding
from ..export.outputs import remove_leftovers
from ..originals.stand_ins import original_of
from ..session.memory import Budget
from ..session.pipeline import failure
from ..session.session import Session

__all__ = ["predicting_validation"]


class _Course:
    """One final validation, from its first case to its last.

    export: what the trainer's module has under the name of nnU-Net's `export_prediction_from_logits`.
    budget: of memory; a case reserves what it needs before it is predicted, and gives it back when it is exported.
    """

    def __init__(
        self,
        trainer: Any,
        save_probabilities: bool,
        threads: int | None,
        say: Callable[[str], None],
        export: Any,
        budget: Budget,
    ) -> None:
        self.trainer = trainer
        self._budget = budget
        self._keys: dict[str, int] = {}  # of the cases that have reserved memory
        self._numbers = itertools.count()
        self._waiting: str | None = None  # the case that has, and was not predicted so far
        self.loaded: tuple[str, dict[str, Any]] | None = None  # the case that was loaded last, and its properties
        self._save_probabilities = save_probabilities
        self._threads = threads
        self._say = say
        self._export = export
        nnunets = original_of(export)
        own = known.changed(nnunets) if isinstance(nnunets, FunctionType) else [type(export).__name__]
        self._exports_as_nnunet = not own
        if own:
            say(f"validation exports as it is: {'; '.join(map(str, own[:3]))}")
        self._session: Session | None = None

    def session(self, predictor: Any) -> Session:
        """Return the one session of all cases."""
        if self._session is None:
            self._session = Session(
                predictor,
                save_probabilities=self._save_probabilities,
                threads=self._threads,
                progress=False,
                say=self._say,
                own_export=False,
                budget=self._budget,
            )
        return self._session

    def reserve(self, case: str, properties: dict[str, Any]) -> None:
        """Wait until the exports of earlier cases have left enough memory for one more."""
        if self._waiting is not None:  # somebody only looked at it
            self._release(self._waiting)
        if self._session is None or case in self._keys:
            return
        need = self._session.need_of_prepared(case, properties)
        if need is not None and (warning := self._budget.warning(need)):
            self._say(f"warning: [{case}] {warning}")
        key = next(self._numbers)
        self._budget.reserve(key, None if need is None else need.most, lambda: False)
        self._keys[case], self._waiting = key, case

    def _release(self, case: str) -> None:
        if case == self._waiting:
            self._waiting = None
        key = self._keys.pop(case, None)
        if key is not None:
            self._budget.release(key)

    def abandon(self) -> None:
        """Remove what was begun and is not complete."""
        if self._session is not None:
            self._session.abandon()

    def predict(self, predictor: Any, image: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Return logits, or what was decided of them where nothing else needs them."""
        as_nnunet = self._exports_as_nnunet and not args and not kwargs
        session = self.session(predictor)
        if self._exports_as_nnunet:  # its export gives back what the case has reserved
            self._waiting = None
        if self.loaded is None or not as_nnunet or self.trainer.configuration_manager.next_stage_names is not None:
            return predictor.predict_sliding_window_return_logits(image, *args, **kwargs)
        case, properties = self.loaded
        target = Path(self.trainer.output_folder, "validation", case)
        predicted = session.predict(case, image, properties, str(target))
        need = session.need_of_prepared(case, properties)
        if need is not None and case in self._keys:
            self._budget.keep(self._keys[case], need.export)
        return _Predicted(predicted)

    def export(self, prediction: Any, *args: Any, **kwargs: Any) -> Any:
        """As nnU-Net's `export_prediction_from_logits`, or the trainer's own."""
        given = inspect.signature(self._export).bind(prediction, *args, **kwargs).arguments
        properties, target = given.get("properties_dict"), given.get("output_file_truncated")
        try:
            if not self._exports_as_nnunet or self._session is None:
                return self._export(prediction, *args, **kwargs)
            assert properties is not None and target is not None
            try:
                self._session.export(
                    prediction.take() if isinstance(prediction, _Predicted) else prediction, properties, target
                )
            except Exception as error:
                raise failure(Path(target).name, "export", error) from error
            return None
        finally:
            if target is not None:
                self._release(Path(target).name)


class _Predicted:
    """Stands for the logits of a case: what is decided of them already, or themselves, until they are exported.

    nnU-Net's loop holds it until the next case is predicted; what is in it can go before.
    """

    def __init__(self, value: Deciding | torch.Tensor) -> None:
        self._value: Deciding | torch.Tensor | None = value

    def cpu(self) -> _Predicted:
        """Return itself: it is there."""
        return self

    def take(self) -> Deciding | torch.Tensor:
        """Return what is in it, and keep nothing."""
        value, self._value = self._value, None
        assert value is not None
        return value


def _predictor_of(course: _Course, kind: type[Any]) -> type[Any]:
    class Predictor:
        """Stands for nnU-Net's predictor as far as the final validation uses it."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._predictor = kind(*args, **kwargs)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._predictor, name)

        def manual_initialization(self, *args: Any, **kwargs: Any) -> Any:
            """As nnU-Net's."""
            result = self._predictor.manual_initialization(*args, **kwargs)
            if self._predictor.list_of_parameters is None:
                # Nobody gives parameters here, for the network has them already.
                network = self._predictor.network
                self._predictor.list_of_parameters = [
                    (network._orig_mod if isinstance(network, OptimizedModule) else network).state_dict()
                ]
            course.session(self._predictor)
            return result

        def predict_sliding_window_return_logits(self, image: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            """As nnU-Net's, but what is returned is only good for being exported."""
            return course.predict(self._predictor, image, *args, **kwargs)

    return Predictor


@contextmanager
def predicting_validation(
    trainer: Any,
    save_probabilities: bool,
    threads: int | None,
    say: Callable[[str], None],
    *,
    memory_budget: int,
    unrestricted_pickles: bool = True,
) -> Iterator[None]:
    """Inside, the `perform_actual_validation` that is nnUNetTrainer's own predicts as `fastnnunet predict` does.

    Labels are decided while the windows pass, where no next stage of a cascade needs the logits and nnU-Net's own function
    exports them; else the logits are resized and decided in one pass, or by the function that the trainer's module has.

    memory_budget: bytes that cases at once may take. A case that needs more goes on alone, with a warning: a training must not
        end without its validation.
    unrestricted_pickles: read properties with Python's own unpickler, which runs whatever code a file holds.
    """
    from nnunetv2.training.dataloading import nnunet_dataset
    from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as module

    before: dict[str, Any] = {
        name: getattr(module, name, None) for name in ("nnUNetPredictor", "export_prediction_from_logits")
    }
    if None in before.values():  # a training must not end without its validation
        say(f"validating as nnU-Net does: expected {', '.join(before)} in {module.__name__}, got a version without")
        yield
        return
    export = before["export_prediction_from_logits"]
    course = _Course(trainer, save_probabilities, threads, say, export, Budget(memory_budget, given=False))
    dataset_class = trainer.dataset_class

    class Remembering(dataset_class):  # type: ignore[misc, valid-type]
        """As the trainer's, and tells which case was loaded last."""

        def load_case(self, identifier: str, *args: Any, **kwargs: Any) -> Any:
            """As the trainer's."""
            case = super().load_case(identifier, *args, **kwargs)
            found = isinstance(case, (tuple, list)) and len(case) > 0 and isinstance(case[-1], dict)
            course.loaded = (identifier, case[-1]) if found else None
            if found:
                course.reserve(identifier, case[-1])
            return case

    Remembering.__name__ = dataset_class.__name__
    replaced = [
        (module, "nnUNetPredictor", _predictor_of(course, before["nnUNetPredictor"])),
        (module, "export_prediction_from_logits", course.export),
        (trainer, "dataset_class", Remembering),
    ]
    if not unrestricted_pickles and nnunet_dataset.load_pickle is load_pickle:
        replaced.append((nnunet_dataset, "load_pickle", lambda file, *_, **__: read_properties(Path(file))))
    undo = [(owner, name, getattr(owner, name), value) for owner, name, value in replaced]
    for owner, name, value in replaced:
        setattr(owner, name, value)
    if trainer.local_rank == 0:
        folder = Path(trainer.output_folder, "validation")
        for line in remove_leftovers(folder).describe(folder):
            say(f"fastnnunet_loader: {line}")
    try:
        yield
    except BaseException:
        course.abandon()
        raise
    finally:
        for owner, name, found, value in undo:
            if getattr(owner, name) is value or getattr(owner, name) == value:
                setattr(owner, name, found)
