"""A loader with what PyTorch's has besides epochs: its arguments, batches on a device, pictures of batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from ... import _core
from ...errors import BadCaseError, FastnnUNetError
from ..scripts.batches import B
from ..scripts.iterated import IteratedLoader
from .devices import Arriving, Copies

if TYPE_CHECKING:
    from ...preview.batches import Preview

__all__ = ["TorchLoader"]


class TorchLoader(IteratedLoader[B]):
    """A loader whose batches may be on a device."""

    _copies: Copies | None = None
    _ahead: Arriving | FastnnUNetError | None = None
    """The next batch, which the core has given already; or its error, which is raised when its turn has come."""
    _generator: torch.Generator | None = None

    def _send(self, device: torch.device) -> None:
        self._copies = None if device.type == "cpu" else Copies(device)

    @property
    def device(self) -> torch.device:
        """Where batches are."""
        return torch.device("cpu") if self._copies is None else self._copies.device

    @property
    def generator(self) -> torch.Generator | None:
        """What the seed was drawn from, if it was given."""
        return self._generator

    @property
    def sampler(self) -> None:
        """None: cases and patches are drawn by the core, and no order of indices can be put in their place."""
        return None

    @property
    def batch_sampler(self) -> None:
        """There is none.

        Raises:
            AttributeError: always; whoever asks would make a loader of his own of whole cases and this sampler.
        """
        raise AttributeError(
            "[batch_sampler] expected a loader of torch.utils.data, got one of fastnnunet_loader, which draws patches itself; each "
            "rank has batches of its own already (with Accelerate, call prepare(), which returns this loader as it is)"
        )

    def _given(self, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The next batch on the device. If the batch after it is ready, its copy begins."""
        if self._copies is None:
            return make()
        self._opened()
        arriving = self._ahead if self._ahead is not None else self._copies.start(make())
        self._ahead = None
        if isinstance(arriving, FastnnUNetError):
            raise arriving
        if self._next_is_ready():
            try:
                self._ahead = self._copies.start(make())
            except FastnnUNetError as error:
                self._ahead = error
            except BaseException:  # Ctrl-C: this batch is still the next
                self._ahead = arriving
                raise
        return self._copies.arrive(arriving)

    def _next_is_ready(self) -> bool:
        """Whether the core can give its next batch at once."""
        step, _, ready, _, _, threads = self._opened().activity()
        return ready > 0 and all(thread[1] != step for thread in threads)

    @property
    def step(self) -> int:
        """The number of the next batch, counted from 0."""
        return super().step - (self._ahead is not None)

    def _state(self, core: _core.Loader) -> dict[str, Any]:
        state = super()._state(core)
        state["step"] -= self._ahead is not None
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state; see `IteratedLoader.load_state_dict`."""
        super().load_state_dict(state)
        self._ahead = None

    def reopen(self, *, role: int, memory_budget: int) -> None:
        """Continue after `close()`, or with other settings. Another role gives other batches; the step stays."""
        super().reopen(role=role, memory_budget=memory_budget)
        self._ahead = None

    def close(self) -> None:
        """Stop the threads' work on this loader and free its memory. Batches that were returned stay valid."""
        super().close()
        self._ahead = None

    def preview(self, batches: int = 1) -> Preview:
        """Draws the next batches: images with outlines of their labels, through the slices with the most labelled voxels.

        They are made for the picture alone: the loader still gives them, and nothing after them changes. In 3D there are three
        slices of each sample; where there are no labels they are the middle ones. Pictures need matplotlib.

        Args:
            batches: how many.

        Returns:
            What a notebook shows as a picture; `.save("file.png")` writes it.

        Raises:
            ValueError: `batches` is no number above 0, or more than a picture has room for.
            ModuleNotFoundError: matplotlib is not installed.
            SampleError, LoaderClosedError: as `sample`.
        """
        from ...preview.batches import draw_batches

        if isinstance(batches, bool) or not isinstance(batches, int) or batches < 1:
            raise ValueError(f"[batches] expected a whole number above 0, got {batches!r}")
        first = self.step
        keys = self._source.keys
        return draw_batches(
            ((step, slot, self._shown(step, slot)) for step in range(first, first + batches) for slot in range(self.batch_size)),
            image_key=keys.image,
            label_key=keys.label,
            case_key="key" if keys.case == "keys" else keys.case,
            title=repr(self),
        )

    def _shown(self, step: int, slot: int) -> dict[str, Any]:
        """The sample that a batch will have: where bad cases are skipped, that of the first attempt with a good one."""
        attempt = 0
        while True:
            try:
                return self.sample(step, slot, attempt)
            except BadCaseError:
                attempt += 1
                if self.on_bad_case != "skip" or attempt > 1000:
                    raise
