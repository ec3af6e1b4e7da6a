"""Compiles a small function with torch.compile and compares its result. Argument: the device."""

import sys

import torch


def _function(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x) * 2 + x.sin()


def _main(device: str) -> None:
    x = torch.linspace(-3, 3, 64, device=device)
    expected, got = _function(x), torch.compile(_function)(x)
    difference = float((got - expected).abs().max())
    if not difference < 1e-3:
        raise ArithmeticError(
            f"[torch.compile] expected the result of the function itself, got one that differs by {difference}"
        )
    print(f"{difference:.1e}")


_main(sys.argv[1])
