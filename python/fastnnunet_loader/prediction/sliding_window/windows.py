"""nnU-Net's sliding window without the logits of the whole image: planes leave as soon as their last window has passed.

window, window, ... at one place of the axis  ──>  sums of logits and weights, one window long
                                                          │ planes that no window reaches any more
                                                          ▼
                                divided, the folds averaged  ──>  decided and dropped (SegmentationStream)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .passage import Passage
from .sums import OrderedSums, Sums
from .waiting import Planes, Waiting

__all__ = ["predict_planes"]


def predict_planes(
    predictor: Any,
    image: torch.Tensor,
    passage: Passage,
    begin: Callable[[], Planes],
    tell: Callable[[int, int], None] | None = None,
    *,
    on_device: bool = True,
    say: Callable[[str], None] = print,
) -> None:
    """Predict an image, as `nnUNetPredictor.predict_logits_from_preprocessed_data` does, plane by plane.

    Mirroring, weights, tile step, folds and precision are nnU-Net's. Where the device lacks memory, sums are kept on the CPU.

    Args:
        predictor: nnU-Net's, initialised.
        image: (C, X, Y, Z) float32, preprocessed.
        passage: of `plan_passage`.
        begin: gives what takes the planes; called again where the prediction begins again.
        tell: is told how many windows are done, and how many there are.
        say: is told what a user may want to know.
        on_device: whether to try to keep image and sums on the device, where the predictor is asked to.
    """
    from nnunetv2.utilities.helpers import dummy_context, empty_cache

    predictor.network = predictor.network.to(predictor.device)
    predictor.network.eval()
    empty_cache(predictor.device)
    on_cuda = predictor.device.type == "cuda"
    with torch.inference_mode(), torch.autocast("cuda", enabled=True) if on_cuda else dummy_context():
        run = _Run(predictor, image, passage, tell)
        if on_device and predictor.perform_everything_on_device:
            try:
                run.over(predictor.device, begin())
                return
            except RuntimeError as error:
                say(f"the sums of logits are kept on the CPU, for the device failed: {error}")
            empty_cache(predictor.device)
        run.over(torch.device("cpu"), begin())


class _Run:
    """One image."""

    def __init__(self, predictor: Any, image: torch.Tensor, passage: Passage, tell: Callable[[int, int], None] | None) -> None:
        from acvl_utils.cropping_and_padding.padding import pad_nd_image

        self._predictor = predictor
        self._tell = tell
        self._passage = passage
        self._patch = tuple(predictor.configuration_manager.patch_size)
        self._image, unpad = pad_nd_image(image, self._patch, "constant", {"value": 0}, True, None)
        self._unpad = unpad[1:]
        slicers = predictor._internal_get_sliding_window_slicers(self._image.shape[1:])
        self._windows: dict[int, list[Any]] = {start: [] for start in passage.starts}
        for slicer in slicers:  # those of one start stay in nnU-Net's order
            at = slicer[passage.along + 1]
            self._windows[at if isinstance(at, int) else at.start].append(slicer)
        self._total = len(slicers)

    def over(self, device: torch.device, planes: Planes) -> None:
        """Predict with sums on a device."""
        from nnunetv2.inference.predict_from_raw_data import compute_gaussian  # as it is there now

        passage, predictor = self._passage, self._predictor
        image = self._image.to(device)
        gaussian = torch.ones((), dtype=torch.half, device=device).expand(self._patch)
        if predictor.use_gaussian:
            gaussian = compute_gaussian(self._patch, sigma_scale=1.0 / 8, value_scaling_factor=10, device=device)
        heads, folds = predictor.label_manager.num_segmentation_heads, predictor.list_of_parameters
        kind = Sums if passage.in_order else OrderedSums
        sums = [kind(passage, heads, device) for _ in range(passage.sums(len(folds)))]
        weights = kind(passage, 1, device)
        waiting = Waiting(passage, heads, len(folds), self._unpad, planes)
        done, all_of_them = 0, self._total * len(folds)
        if len(folds) == 1:
            self._load(folds[0])
        for start, following in zip(passage.starts, (*passage.starts[1:], None), strict=True):
            complete = passage.extent if following is None else following - start
            for slicer in self._windows[start]:
                weights.add(gaussian, slicer, start, complete)
            for fold, parameters in enumerate(folds):
                if len(folds) > 1:
                    self._load(parameters)
                kept = sums[fold % len(sums)]
                for slicer in self._windows[start]:
                    window = torch.clone(image[slicer][None], memory_format=torch.contiguous_format)
                    prediction = predictor._internal_maybe_mirror_and_predict(window.to(predictor.device))[0].to(device)
                    if predictor.use_gaussian:
                        prediction *= gaussian
                    kept.add(prediction, slicer, start, complete)
                    del prediction
                    done += 1
                    if self._tell is not None:
                        self._tell(done, all_of_them)
                if len(sums) < len(folds):  # the next fold begins with nothing in the same sums
                    kept.take(start, complete, weights, waiting.place(complete), add=fold > 0)
            step = passage.step(len(folds))
            for first in range(start, start + complete, step):
                count = min(step, start + complete - first)
                place = waiting.place(count)
                if len(sums) == len(folds):
                    for fold, kept in enumerate(sums):
                        kept.take(first, count, weights, place, add=fold > 0)
                if len(folds) > 1:
                    place /= len(folds)
                waiting.put(count, last=following is None and first + count == start + complete)
            weights.clear(start, complete)

    def _load(self, parameters: Any) -> None:
        from torch._dynamo import OptimizedModule

        network = self._predictor.network
        (network._orig_mod if isinstance(network, OptimizedModule) else network).load_state_dict(parameters)
