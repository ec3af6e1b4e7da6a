"""A sample of a training is made again from the very address that it has."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import fastnnunet_loader as fl
from fastnnunet_loader.loading.loader import DataLoader
from fastnnunet_loader.nnunet import reproducing
from fastnnunet_loader.nnunet.sources import Source

GIVEN = {"dataset": "D", "configuration": "2d", "fold": 3, "seed": 2**63, "step": 7, "slot": 1}
CHANGES: list[tuple[dict[str, Any], str, str, Any]] = [
    ({"role": "val"}, "loader", "data_loader", "the validation's"),
    ({"role": 1}, "loader", "data_loader", "the validation's"),
    ({"role": 2}, "loader", "role", 2),
    ({"rank": 1}, "opened", "rank", 1),
    ({"rank": 1}, "loader", "rank", 1),
    ({"ranks": 4}, "opened", "ranks", 4),
    ({"attempt": 5}, "sample", "attempt", 5),
    ({"trainer": "T"}, "opened", "trainer", "T"),
    ({"plans": "P"}, "opened", "plans", "P"),
    ({"check_finite": True}, "loader", "check_finite", True),
]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What the source, the loader and its sample were asked for, under the names of their own parameters."""
    seen: dict[str, dict[str, Any]] = {}
    of_source, of_loader, of_sample = (
        inspect.signature(function) for function in (reproducing.open_source, DataLoader.from_nnunet, DataLoader.sample)
    )

    def bound(name: str, signature: inspect.Signature, *args: Any, **kwargs: Any) -> None:
        arguments = signature.bind(*args, **kwargs)
        arguments.apply_defaults()
        seen[name] = dict(arguments.arguments)

    class Loader:
        def __enter__(self) -> Loader:
            return self

        def __exit__(self, *_: object) -> None:
            seen["closed"] = {}

        def sample(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
            bound("sample", of_sample, self, *args, **kwargs)
            return {"key": "case"}

    def open_source(*args: Any, **kwargs: Any) -> Source:
        bound("opened", of_source, *args, **kwargs)
        return Source(None, "the training's", "the validation's")

    def from_nnunet(*args: Any, **kwargs: Any) -> Loader:
        bound("loader", of_loader, *args, **kwargs)
        return Loader()

    monkeypatch.setattr(reproducing, "open_source", open_source)
    monkeypatch.setattr(DataLoader, "from_nnunet", from_nnunet)
    return seen


@pytest.mark.parametrize(("changed", "where", "name", "value"), CHANGES)
def test_every_part_of_the_address_counts(
    calls: dict[str, dict[str, Any]], changed: dict[str, Any], where: str, name: str, value: Any
) -> None:
    assert fl.reproduce(**GIVEN) == {"key": "case"}  # type: ignore[arg-type]
    plain = {key: dict(content) for key, content in calls.items()}
    assert plain["opened"] == {
        "dataset": "D", "configuration": "2d", "fold": 3, "trainer": "nnUNetTrainer", "plans": "nnUNetPlans", "rank": 0,
        "ranks": 1,
    }  # fmt: skip
    loader = plain["loader"]
    assert (loader["data_loader"], loader["seed"], loader["rank"], loader["role"]) == ("the training's", 2**63, 0, "train")
    assert (loader["threads"], loader["check_finite"]) == (1, False)
    assert [plain["sample"][key] for key in ("step", "slot", "attempt")] == [7, 1, 0]
    assert plain[where][name] != value
    fl.reproduce(**GIVEN, **changed)  # type: ignore[arg-type]
    assert calls[where][name] == value
    assert (calls["loader"]["data_loader"] == "the validation's") == (changed.get("role") in ("val", 1))
    assert "closed" in calls
    # Nothing else is different.
    for key, content in plain.items():
        for argument, before in content.items():
            same = argument in (name, "self", "role", *changed) or calls[key][argument] == before
            assert same, (key, argument)


def test_every_argument_is_tried() -> None:
    parameters = set(inspect.signature(fl.reproduce).parameters) - set(GIVEN)
    assert parameters == {key for changed, *_ in CHANGES for key in changed}
