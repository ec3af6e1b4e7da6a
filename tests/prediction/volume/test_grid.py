"""`fl.grid`: patches that cover a volume, with their places."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fastnnunet_loader as fl


@pytest.mark.parametrize("shape", [(20, 23, 31), (5, 23, 8), (3, 2, 1), (20, 7)])
def test_patches_put_back_where_they_lie_are_the_volume(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).random((2, *shape), np.float32)
    patch = (8, 9, 10)[: len(shape)]
    grid = fl.grid(image, patch)
    assert [start for _, start in grid] == list(fl.grid(shape, patch))
    put = np.full((2, *shape), np.nan)
    for values, start in grid:
        assert values.shape == (2, *patch)
        inside = [slice(max(0, -at), min(n, size - at)) for at, n, size in zip(start, patch, shape, strict=True)]
        to = [slice(at + s.start, at + s.stop) for at, s in zip(start, inside, strict=True)]
        put[(slice(None), *to)] = values[(slice(None), *inside)]
        assert float(values.abs().sum()) == pytest.approx(float(np.abs(put[(slice(None), *to)]).sum()), rel=1e-5), "0 outside"
    assert np.array_equal(put, image)


def test_a_window_is_where_predict_volume_has_it() -> None:
    image, places = torch.randn(1, 20, 9, 12), []

    def network(x: torch.Tensor) -> torch.Tensor:
        places.append(x[0].clone())
        return x.repeat(1, 2, 1, 1, 1)

    fl.predict_volume(network, image, (8, 8, 8), step=0.4)
    patches = [patch for patch, _ in fl.grid(image, (8, 8, 8), step=0.4)]
    assert len(places) == len(patches)
    assert all(any(torch.equal(one, other) for other in patches) for one in places)


def test_torchs_loader_takes_it() -> None:
    batches = list(torch.utils.data.DataLoader(fl.grid(torch.randn(1, 12, 12, 12), (8, 8, 8)), batch_size=4))
    assert [tuple(batch.shape) for batch, _ in batches] == [(4, 1, 8, 8, 8)] * 2
    assert torch.stack(batches[1][1], 1).tolist() == [[4, 0, 0], [4, 0, 4], [4, 4, 0], [4, 4, 4]]


def test_what_is_no_grid_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[patch_size\] expected 3 sizes"):
        fl.grid((8, 8, 8), (8, 8))
    with pytest.raises(ValueError, match=r"\[step\] expected"):
        fl.grid((8, 8, 8), (8, 8, 8), 0)
    with pytest.raises(ValueError, match=r"\[image_or_shape\] expected"):
        fl.grid(5, (8, 8, 8))  # type: ignore[arg-type]
