"""nnU-Net's sliding window without the logits of the whole image: planes leave as soon as their last window has passed.

window, window, ... at one place of the axis  ──>  sums of logits and weights, one window long
                                                          │ planes that no window reaches any more
                                                          ▼
                                divided, the folds averaged  ──>  decided and dropped (SegmentationStream)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from .passage import Passage
from .passing import pass_over, windows_by_start
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
        self._windows = windows_by_start(passage, slicers)
        self._total = len(slicers)

    def over(self, device: torch.device, planes: Planes) -> None:
        """Predict with sums on a device."""
        from nnunetv2.inference.predict_from_raw_data import compute_gaussian  # as it is there now

        predictor = self._predictor
        image = self._image.to(device)
        gaussian = torch.ones((), dtype=torch.half, device=device).expand(self._patch)
        if predictor.use_gaussian:
            gaussian = compute_gaussian(self._patch, sigma_scale=1.0 / 8, value_scaling_factor=10, device=device)
        heads, folds = predictor.label_manager.num_segmentation_heads, predictor.list_of_parameters
        done, all_of_them = 0, self._total * len(folds)

        def predict(fold: int, slicers: list[Any]) -> Iterator[torch.Tensor]:
            nonlocal done
            if len(folds) > 1:
                self._load(folds[fold])
            for slicer in slicers:
                window = torch.clone(image[slicer][None], memory_format=torch.contiguous_format)
                prediction = predictor._internal_maybe_mirror_and_predict(window.to(predictor.device))[0].to(device)
                if predictor.use_gaussian:
                    prediction *= gaussian
                yield prediction
                del prediction
                done += 1
                if self._tell is not None:
                    self._tell(done, all_of_them)

        if len(folds) == 1:
            self._load(folds[0])
        waiting = Waiting(self._passage, heads, len(folds), self._unpad, planes)
        pass_over(self._passage, self._windows, predict, gaussian, heads, len(folds), device, waiting)

    def _load(self, parameters: Any) -> None:
        from torch._dynamo import OptimizedModule

        network = self._predictor.network
        (network._orig_mod if isinstance(network, OptimizedModule) else network).load_state_dict(parameters)
