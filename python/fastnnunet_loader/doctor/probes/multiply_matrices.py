"""Multiplies matrices on every CUDA device and compares the products with the CPU's."""

import torch


def _main() -> None:
    a, b = torch.randn(2, 256, 256, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = a @ b
    for number in range(torch.cuda.device_count()):
        device = f"cuda:{number}"
        difference = float(((a.float().to(device) @ b.float().to(device)).cpu() - expected).abs().max())
        # TensorFloat-32 has 10 bits: sums of 256 products are then right to about 0.05.
        if not difference < 0.5:
            raise ArithmeticError(f"[{device}] expected the product that the CPU has, got one that differs by {difference}")
    print(torch.cuda.device_count())


_main()
