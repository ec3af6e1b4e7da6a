"""Each option of `fastnnunet preview` reaches the source, the loader and the picture that it is for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import fastnnunet_loader as fl
from fastnnunet_loader.cli.command import main
from fastnnunet_loader.nnunet import sources
from fastnnunet_loader.preview import pictures, views


@pytest.fixture
def seen(nnunet_dataset: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What was opened, and what was drawn."""
    found: dict[str, Any] = {"dataset": nnunet_dataset("default")}
    opens, makes, viewer = sources.open_source, fl.DataLoader.from_nnunet, views.Viewer

    def open_source(*args: Any, **kwargs: Any) -> Any:
        found["source"] = opens(*args, **kwargs)
        found["opened"] = (args, kwargs)
        return found["source"]

    def from_nnunet(cases: Any, **kwargs: Any) -> Any:
        found["cases"], found["loader"] = cases, kwargs
        return makes(cases, **kwargs)

    class Viewer(viewer):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            found["targets"] = kwargs.get("targets")
            found["asked"] = []
            super().__init__(*args, **kwargs)

        def stages(self, *args: Any) -> Any:
            found["asked"].append(("stages", *args))
            return super().stages(*args)

        def draws(self, *args: Any) -> Any:
            found["asked"].append(("draws", *args))
            return super().draws(*args)

    def draw_rows(rows: Any, names: Any, file: Any, title: Any, legend: Any) -> Any:
        found["drawn"] = (len(rows), names, file, title)
        return file

    monkeypatch.setattr(sources, "open_source", open_source)
    monkeypatch.setattr(fl.DataLoader, "from_nnunet", from_nnunet)
    monkeypatch.setattr(views, "Viewer", Viewer)
    monkeypatch.setattr(pictures, "draw_rows", draw_rows)
    return found


@pytest.mark.parametrize(
    ("fold", "options", "kind", "seed", "role", "rank", "ranks", "rows"),
    [
        ("0", [], "training", 0, 0, 0, 1, 3),
        ("1", ["--rows", "2", "--draws", "2", "--seed", "5", "--step", "7"], "training", 5, 0, 0, 1, 2),
        ("all", ["--val", "--rows", "1", "--targets"], "validation", 0, 1, 0, 1, 1),
        ("0", ["--reproduce", "seed=3,step=4,slot=1"], "training", 3, 0, 0, 1, 1),
        ("0", ["--reproduce", "seed=3,step=4,slot=0,role=val,attempt=2"], "validation", 3, 1, 0, 1, 1),
        ("0", ["--reproduce", "seed=3,step=4,slot=5,role=2,rank=1,ranks=2"], "training", 3, 2, 1, 2, 1),
    ],
)
def test_every_option_reaches_what_it_is_for(
    seen: dict[str, Any], tmp_path: Path, capsys: Any,
    fold: str, options: list[str], kind: str, seed: int, role: int, rank: int, ranks: int, rows: int,
) -> None:  # fmt: skip
    dataset, file = seen["dataset"], tmp_path / "x.png"
    assert main(["preview", str(dataset.id), "2d", fold, "-o", str(file), *options]) == 0
    assert capsys.readouterr().out == f"{file}\n"
    where = (dataset.name, "2d", fold if fold == "all" else int(fold), "nnUNetTrainer", "nnUNetPlans")
    assert seen["opened"] == (where, {"rank": rank, "ranks": ranks})
    if ranks == 1:
        assert seen["cases"] is (seen["source"].val if kind == "validation" else seen["source"].train)
    else:
        assert str(seen["cases"].share) == f"{rank} of {ranks}"
    assert seen["loader"] == {"threads": 1, "seed": seed, "rank": rank, "role": role}
    assert seen["targets"] is ("--targets" in options)
    title = f"{dataset.name}   2d   fold {fold}   {kind}   seed {seed}"
    assert seen["drawn"] == (rows, seen["source"].label_names, file, title)
    ways = {way for way, *_ in seen["asked"]}
    assert ways == {"draws" if "--draws" in options else "stages"}
    if "--reproduce" in options:
        sample = dict(part.split("=") for part in options[1].split(","))
        first = rank * seen["source"].train.batch_size  # the slots of ranks count through the whole batch
        assert seen["asked"] == [("stages", 4, int(sample["slot"]) - first, int(sample.get("attempt", 0)))]
    elif "--draws" in options:
        assert [(step >= 7, draws) for _, step, _, draws in seen["asked"]] == [(True, 2)] * 2


def test_a_trainer_and_plans_of_ones_own(seen: dict[str, Any], tmp_path: Path) -> None:
    dataset = seen["dataset"]
    assert (
        main(["preview", dataset.name, "2d", "0", "-o", str(tmp_path / "x.png"), "-tr", "nnUNetTrainerNoDA", "--rows", "1"])
        == 0
    )
    assert seen["opened"][0] == (dataset.name, "2d", 0, "nnUNetTrainerNoDA", "nnUNetPlans")
    assert type(seen["source"].trainer).__name__ == "nnUNetTrainerNoDA"


def test_a_place_that_no_batch_has_is_refused(seen: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    dataset = seen["dataset"]
    size = dataset.plans["configurations"]["2d"]["batch_size"]
    command = ["preview", dataset.name, "2d", "0", "-o", str(tmp_path / "x.png"), "--reproduce"]
    assert main([*command, f"seed=3,step=4,slot={size}"]) == 2
    assert f"[--reproduce] expected a slot below {size}, got {size}" in capsys.readouterr().err
    assert main([*command, f"seed=3,step=4,slot={size - 1}"]) == 0


def test_where_a_picture_may_be_written(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "mine.png").write_bytes(b"mine")
    for name, said in (
        (".", "expected a file, got the folder"),
        ("mine.png", "expected a new file, or the picture of an earlier"),
    ):
        assert main(["preview", "1", "2d", "0", "-o", str(tmp_path / name)]) == 2
        assert f"[-o] {said}" in capsys.readouterr().err


@pytest.mark.parametrize(("step", "taken"), [("0", True), (str(2**48 - 1), True), (str(2**48), False), ("1.0", False)])
def test_batches_are_numbered_up_to_a_limit(tmp_path: Path, capsys: Any, step: str, taken: bool) -> None:
    (tmp_path / "mine.png").write_bytes(b"mine")  # at which it stops
    command = ["preview", "1", "2d", "0", "-o", str(tmp_path / "mine.png"), "--step", step]
    if taken:
        assert main(command) == 2
        assert "[-o]" in capsys.readouterr().err
    else:
        with pytest.raises(SystemExit):
            main(command)
        assert f"--step: expected a number from 0 to 2**48 - 1, got {step!r}" in capsys.readouterr().err
