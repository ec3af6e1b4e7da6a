"""What sizes of memory are read as."""

from __future__ import annotations

import pytest

from fastnnunet_loader.settings import in_units, parse_bytes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (123, 123),
        ("123", 123),
        ("0", 0),
        ("1B", 1),
        ("1k", 1024),
        ("1kB", 1024),
        ("1KiB", 1024),
        ("64MB", 67_108_864),
        ("64 MiB", 67_108_864),
        ("4G", 4_294_967_296),
        ("4GB", 4_294_967_296),
        ("4 gib", 4_294_967_296),
        (" 1.5G ", 1_610_612_736),
        ("2T", 2_199_023_255_552),
        ("0.5k", 512),
    ],
)
def test_units_are_powers_of_1024(text: str | int, expected: int) -> None:
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "G", "4 X", "4GBs", "-1G", "1e9", "4,5G", "1.G", "four"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a size such as '4GB', got"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (5 * 2**20 + 2**19, "5.5 MiB"),
        (2**30, "1.0 GiB"),
        (3 * 2**40, "3.0 TiB"),
        (2**60, "1048576.0 TiB"),
    ],
)
def test_bytes_for_people(count: int, said: str) -> None:
    assert in_units(count) == said
    if count >= 1024:
        assert parse_bytes(said) == count
