"""What surrounds the network: what a case needs, what is said of it, and what it is made of. The network is one convolution."""

from __future__ import annotations

import inspect
import itertools
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from raw_images import copy_images, description, images_of

from fastnnunet_loader.errors import PredictionError
from fastnnunet_loader.prediction.export.outputs import HELD, Outputs
from fastnnunet_loader.prediction.images import Header
from fastnnunet_loader.prediction.images.cases import Case
from fastnnunet_loader.prediction.session import session as session_module
from fastnnunet_loader.prediction.session.memory import NETWORK_ON_CPU, Budget, Need, device_room, estimate
from fastnnunet_loader.prediction.session.session import Session
from fastnnunet_loader.prediction.sliding_window.passage import plan_passage


def predictor_of(dataset: Any, configuration: str = "3d_fullres", *, folds: int = 1, step: float = 0.5) -> Any:
    """nnU-Net's, with a network that needs no training."""
    plans = PlansManager(dataset.plans)
    labels = plans.get_label_manager(description(dataset))
    cascaded = configuration == "3d_cascade_fullres"
    channels = len(description(dataset)["channel_names"]) + len(labels.foreground_labels) * cascaded
    network = torch.nn.Conv3d(channels, labels.num_segmentation_heads, 1)
    predictor = nnUNetPredictor(tile_step_size=step, use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    chosen = plans.get_configuration(configuration)
    parameters = [network.state_dict()] * folds
    predictor.manual_initialization(network, plans, chosen, parameters, description(dataset), "nnUNetTrainer", None)
    return predictor


def session_of(predictor: Any, said: list[str] | None = None, **settings: Any) -> Session:
    return Session(predictor, progress=False, say=[].append if said is None else said.append, **settings)


HEADER = Header(1, (60, 70, 80), (4.0, 3.0, 2.0), 4)


@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize(("folds", "step"), [(1, 0.5), (3, 0.5), (1, 1.0)])
def test_what_a_case_needs_is_by_everything_that_is_asked_of_it(
    nnunet_dataset: Any, folds: int, step: float, probabilities: bool
) -> None:
    predictor = predictor_of(nnunet_dataset("default"), folds=folds, step=step)
    plan = (1, predictor.plans_manager, predictor.configuration_manager, predictor.label_manager)
    expected = estimate(HEADER, *plan, folds=folds, save_probabilities=probabilities, tile_step_size=step)
    assert session_of(predictor, save_probabilities=probabilities).need(HEADER) == expected
    assert expected != estimate(HEADER, *plan, folds=folds + 1, save_probabilities=probabilities, tile_step_size=step)
    assert expected != estimate(HEADER, *plan, folds=folds, save_probabilities=not probabilities, tile_step_size=step)


@pytest.mark.parametrize("of", ["data", "probabilities"])
def test_what_runs_in_python_needs_more_and_is_told(nnunet_dataset: Any, of: str) -> None:
    predictor = predictor_of(nnunet_dataset("default"))
    plain = session_of(predictor).need(HEADER)
    settings = predictor.configuration_manager.configuration
    settings[f"resampling_fn_{of}_kwargs"] = {"is_seg": False, "order": 2, "order_z": 0, "force_separate_z": None}
    own = predictor_of(nnunet_dataset("default"))
    own.configuration_manager.configuration.update(settings)
    said: list[str] = []
    need = session_of(own, said).need(HEADER)
    assert (need.preprocess > plain.preprocess) == (of == "data")
    assert (need.export > plain.export) == (of == "probabilities")
    what = "images" if of == "data" else "logits"
    assert any(line.startswith(f"{what} are resampled in Python: ") for line in said)
    assert any(
        line.startswith("the logits of a whole image are kept in memory: the export needs all of them at once") for line in said
    ) == (of != "data")


def test_estimate_of_a_header_is_in_the_order_of_the_networks_axes(nnunet_dataset: Any) -> None:
    """A thick axis is enlarged, whichever of the file's it is."""
    dataset = nnunet_dataset("default")
    plans = PlansManager({**dataset.plans, "transpose_forward": [2, 0, 1], "transpose_backward": [1, 2, 0]})
    plain = PlansManager(dataset.plans)
    labels = plain.get_label_manager(description(dataset))

    def need(manager: PlansManager, shape: tuple[int, int, int], spacing: tuple[float, float, float], **more: Any) -> Need:
        return estimate(Header(1, shape, spacing, 4), 1, manager, manager.get_configuration("3d_fullres"), labels, **more)

    for more in ({}, {"tile_step_size": 0.5}):
        turned = need(plans, (70, 80, 60), (3.0, 2.0, 16.0), **more)
        assert turned == need(plain, (60, 70, 80), (16.0, 3.0, 2.0), **more)
        assert turned != need(plans, (60, 70, 80), (16.0, 3.0, 2.0), **more) or not more


def test_estimate_counts_channels_and_previous_labels_and_values(nnunet_dataset: Any) -> None:
    dataset = nnunet_dataset("cascade")
    plans = PlansManager(dataset.plans)
    about = description(dataset)
    more_labels = {**about, "labels": {"background": 0, **{f"label {n}": n for n in range(1, 6)}}}

    def need(configuration: str = "3d_cascade_fullres", channels: int = 1, labels: Any = about, **more: Any) -> Need:
        header = Header(more.pop("stacked", 1), (60, 70, 80), (4.0, 4.0, 4.0), more.pop("itemsize", 4))
        chosen = plans.get_configuration(configuration)
        return estimate(header, channels, plans, chosen, plans.get_label_manager(labels), **more)

    plain = need()
    voxels = 60 * 70 * 80
    assert plain.preprocess > need("3d_fullres").preprocess
    assert plain.predict > need("3d_fullres").predict
    assert need(channels=2).preprocess >= plain.preprocess + 8 * voxels
    assert need(channels=2).predict == plain.predict + 8 * voxels
    assert need(itemsize=8).preprocess >= plain.preprocess
    assert need(itemsize=16, stacked=4).preprocess > need(itemsize=16).preprocess
    assert need(labels=more_labels).preprocess >= plain.preprocess + 3 * 4 * voxels
    heads = need(labels=more_labels).export - plain.export
    assert heads == 3 * 2 * voxels, "logits in half precision of three more classes"


def test_estimate_is_of_what_the_network_and_the_labels_take(nnunet_dataset: Any) -> None:
    dataset = nnunet_dataset("default")
    plans, about = PlansManager(dataset.plans), description(dataset)
    chosen = plans.get_configuration("3d_fullres")
    patch = math.prod(chosen.patch_size)

    def need(shape: tuple[int, int, int] = (60, 70, 80), labels: Any = about["labels"], **more: Any) -> Need:
        spacing = tuple(float(chosen.spacing[axis]) for axis in plans.transpose_backward)
        order = {"regions_class_order": more.pop("order")} if "order" in more else {}
        manager = plans.get_label_manager({**about, "labels": labels, **order})
        header = Header(1, shape, (spacing[0], spacing[1], spacing[2]), 4)
        channels = more.pop("channels", 1)
        return estimate(header, channels, plans, chosen, manager, **{"tile_step_size": 0.5, **more})

    voxels = 60 * 70 * 80
    # What a layer of the first stage takes beside its input.
    first = dataset.plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["features_per_stage"][0]
    assert need().predict - need(on_cpu=False).predict == NETWORK_ON_CPU + 24 * patch * first
    # An image smaller than a window is padded.
    assert need((1, 1, 1), channels=2).predict == need((1, 1, 1)).predict + 8 * patch
    # Labels and probabilities are there while planes are decided; the logits of a whole image are not.
    assert need(save_probabilities=True).predict - need().predict == 4 * 3 * voxels
    assert need(save_probabilities=True, tile_step_size=None).predict == need(tile_step_size=None).predict
    # Labels from 255 on take two bytes.
    by_heads = [need(labels={"background": 0, **{f"{n}": n for n in range(1, heads)}}).predict for heads in range(253, 257)]
    first_head, second_head, third_head = (b - a for a, b in itertools.pairwise(by_heads))
    assert first_head == third_head == second_head - voxels
    # nnU-Net makes probabilities of regions before it decides.
    plain, regions = {"background": 0, "a": 1}, {"background": 0, "a": [1, 2], "b": 2}
    for probabilities in (False, True):
        more = {"native_export": False, "tile_step_size": None, "save_probabilities": probabilities}
        difference = need(labels=regions, order=[1, 2], **more).export - need(labels=plain, **more).export
        assert difference == (0 if probabilities else 8 * 2 * voxels)


def test_each_array_is_a_case_with_its_own_previous_stage_properties_and_target(nnunet_dataset: Any) -> None:
    session = session_of(predictor_of(nnunet_dataset("cascade"), "3d_cascade_fullres"))
    generator = np.random.default_rng(0)
    sizes = (8, 9, 10)
    images = [generator.normal(100, 10, (1, size, 9, 10)).astype(np.float32) for size in sizes]
    before = [np.full((1, size, 9, 10), label, np.int16) for size, label in zip(sizes, (2, 0, 1), strict=True)]
    properties = [{"spacing": [4.0, 4.0, 4.0]} for _ in sizes]
    jobs = session.jobs_of_arrays(images, before, properties, ["out/a", "out/b", "out/c"])
    assert [(job.case, job.target) for job in jobs] == [("a", "out/a"), ("b", "out/b"), ("c", "out/c")]
    for job, size, expected, given in zip(jobs, sizes, ([0, 1], [0, 0], [1, 0]), properties, strict=True):
        data, returned = job.prepare()
        assert returned is given
        assert returned["shape_before_cropping"] == (size, 9, 10)
        assert data[1:].amax((1, 2, 3)).tolist() == expected
        assert job.need == session.need(Header(1, (size, 9, 10), (4.0, 4.0, 4.0), 0))
    unnamed = session.jobs_of_arrays(images, before, properties, None)
    assert [(job.case, job.target) for job in unnamed] == [(f"image {n}", None) for n in range(3)]


def test_a_bad_array_is_raised_at_once_or_when_it_is_its_turn(nnunet_dataset: Any) -> None:
    predictor = predictor_of(nnunet_dataset("default"))
    good, bad = np.ones((1, 8, 9, 10), np.float32), np.ones((8, 9, 10), np.float32)
    arguments = ([good, bad], None, [{"spacing": [4.0] * 3}] * 2, ["a", "b"])
    with pytest.raises(PredictionError, match=r"\[b\] expected an image"):
        session_of(predictor).jobs_of_arrays(*arguments)
    _, job = session_of(predictor, on_bad_case="skip").jobs_of_arrays(*arguments)
    assert (job.case, job.target, job.need) == ("b", "b", None)
    with pytest.raises(PredictionError, match=r"\[b\] expected an image"):
        job.prepare()


def test_items_of_others_are_taken_as_they_are(nnunet_dataset: Any, tmp_path: Path) -> None:
    """Those that are in a file are read when it is their turn, and the file is removed."""
    session = session_of(predictor_of(nnunet_dataset("default")))
    data, file = torch.rand(1, 8, 9, 10), tmp_path / "waiting.npy"
    np.save(file, data.numpy())
    properties = {"spacing": [4.0] * 3, "shape_before_cropping": (8, 9, 10)}
    items = [
        {"data": data, "data_properties": properties, "ofile": None},
        {"data": str(file), "data_properties": {}, "ofile": "out/case"},
    ]
    first, second = session.jobs_of_items(items)
    assert (first.case, first.target, second.case, second.target) == ("image 0", None, "case", "out/case")
    assert first.need == replace(session.need(Header(1, (8, 9, 10), (4.0, 4.0, 4.0), 0)), preprocess=0)
    assert second.need is None
    assert first.prepare()[0] is data
    assert first.prepare()[1] is properties
    assert file.is_file()
    assert torch.equal(second.prepare()[0], data)
    assert not file.exists()


def test_images_far_from_the_training_are_told_when_files_are_checked(nnunet_dataset: Any, tmp_path: Path) -> None:
    dataset = nnunet_dataset("default")
    images = copy_images(dataset, tmp_path / "images", 1, (1, 1, 1))
    case = Case("brain_000", tuple(images_of(images, "brain_000")), None, str(tmp_path / "out" / "brain_000"))
    model = tmp_path / "model"
    model.mkdir()
    known = json.loads((dataset.preprocessed / dataset.name / "dataset_fingerprint.json").read_text(encoding="utf-8"))
    for factor, words in ((1, []), (3, ["a spacing"])):
        content = {
            "spacings": [[factor * s for s in spacing] for spacing in known["spacings"]],
            "shapes_after_crop": [[n / factor for n in shape] for shape in known["shapes_after_crop"]],
        }
        (model / "dataset_fingerprint.json").write_text(json.dumps(content), encoding="utf-8")
        said: list[str] = []
        good, bad = session_of(predictor_of(dataset), said, model=model).check([case])
        assert (len(good), bad) == (1, [])
        assert [line.partition(" of (")[0] for line in said] == [f"warning: [brain_000] {word}" for word in words]
    said.clear()
    assert session_of(predictor_of(dataset), said).check([case])[1] == []
    assert not said, "without the folder of a model nothing is known"


@pytest.mark.parametrize("given", [True, False])
def test_a_case_beyond_the_budget_is_refused_or_told(nnunet_dataset: Any, tmp_path: Path, given: bool) -> None:
    from fastnnunet_loader.prediction.session.memory import Budget

    dataset = nnunet_dataset("default")
    images = copy_images(dataset, tmp_path / "images", 1, (1, 1, 1))
    case = Case("brain_000", tuple(images_of(images, "brain_000")), None, str(tmp_path / "out" / "brain_000"))
    said: list[str] = []
    settings = {"memory_budget": 1000} if given else {"budget": Budget(1000, given=False)}
    good, bad = session_of(predictor_of(dataset), said, **settings).check([case])
    if given:
        (error,) = bad
        assert (error.case, error.file, error.stage) == ("brain_000", case.files[0], "check")
        assert "expected a memory budget of at least" in error.reason
        assert not said
        return
    assert len(good) == 1
    (line,) = said
    assert line.startswith(f"warning: [brain_000] {case.files[0]}: needs about ")


def test_number_of_torchs_threads_stays(nnunet_dataset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = predictor_of(nnunet_dataset("default"))
    before = torch.get_num_threads()

    def predict(image: torch.Tensor) -> torch.Tensor:
        torch.set_num_threads(before + 1)
        if image.isnan().any():
            raise RuntimeError("broken")
        return image

    monkeypatch.setattr(predictor, "predict_logits_from_preprocessed_data", predict)
    session = session_of(predictor)
    image = torch.ones(1, 2, 3, 4)
    assert torch.equal(session.logits(image), image)
    assert torch.get_num_threads() == before
    with pytest.raises(RuntimeError, match="broken"):
        session.logits(image * torch.nan)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize("on_bad_case", ["raise", "skip"])
def test_files_become_files(
    nnunet_dataset: Any, tmp_path: Path, on_bad_case: str, probabilities: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what an earlier run has left is removed. A case that fails meanwhile is the only one that is missing."""
    dataset = nnunet_dataset("default")
    images, out = copy_images(dataset, tmp_path / "images", 3, (1, 1, 1)), tmp_path / "out"
    cases = [Case(f"brain_00{n}", tuple(images_of(images, f"brain_00{n}")), None, str(out / f"case {n}")) for n in range(3)]
    settings = {"save_probabilities": probabilities, "on_bad_case": on_bad_case, "threads": 1, "patience": 0.0}
    session = Session(predictor_of(dataset, step=1), say=lambda _: None, **settings)  # type: ignore[arg-type]
    checked, bad = session.check(cases)
    assert bad == []
    shutil.move(cases[1].files[0], tmp_path / "elsewhere")
    if on_bad_case == "raise":
        with pytest.raises(PredictionError, match=r"\[brain_001\]"):
            session.run_files(checked)
    else:
        assert session.run_files(checked) == [None] * 3
        assert [error.case for error in session.failures] == ["brain_001"]
        assert "3 of 3 cases (1 bad)" in capsys.readouterr().out
    written = ["case 0"] if on_bad_case == "raise" else ["case 0", "case 2"]
    endings = (".nii.gz", ".npz", ".pkl") if probabilities else (".nii.gz",)
    assert sorted(file.name for file in out.iterdir()) == [name + ending for name in written for ending in endings]


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What the parts of a session were made with, by the names of their own parameters."""
    seen: dict[str, dict[str, Any]] = {}
    for name in ("Preprocessing", "Exporting", "CaseChecks", "Pipeline", "Progress"):
        kind = getattr(session_module, name)

        def made(*args: Any, name: str = name, kind: Any = kind, **kwargs: Any) -> Any:
            arguments = inspect.signature(kind).bind(*args, **kwargs)
            arguments.apply_defaults()
            seen[name] = dict(arguments.arguments)
            return kind(*args, **kwargs)

        monkeypatch.setattr(session_module, name, made)
    return seen


def test_every_setting_reaches_the_parts_of_a_session(
    nnunet_dataset: Any, parts: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = predictor_of(nnunet_dataset("default"))
    predictor.verbose_preprocessing = True
    said: list[str] = []
    session = Session(
        predictor, memory_budget=2**40, on_bad_case="skip", threads=3, progress=True, say=said.append, patience=7.5
    )
    plan = {"plans": predictor.plans_manager, "configuration": predictor.configuration_manager,
            "dataset_json": predictor.dataset_json}  # fmt: skip
    for name in ("Preprocessing", "Exporting", "CaseChecks"):
        assert {key: parts[name][key] for key in plan} == plan, name
    assert (parts["Preprocessing"]["threads"], parts["Exporting"]["threads"]) == (3, 3)
    assert (parts["Preprocessing"]["verbose"], parts["Exporting"]["predictor"]) == (True, predictor)
    assert [parts[name]["patience"].seconds for name in ("Preprocessing", "CaseChecks")] == [7.5, 7.5]
    for say in (parts["Preprocessing"]["say"], parts["Exporting"]["say"], parts["CaseChecks"]["patience"].say):
        say("a word")
    assert said.count("a word") == 3
    assert (session.budget.limit, session.budget.given) == (2**40, True)
    assert session.run([], 4) == []
    assert (parts["Pipeline"]["on_bad_case"], parts["Pipeline"]["budget"]) == ("skip", session.budget)
    assert (parts["Progress"]["total"], parts["Progress"]["budget"]) == (4, session.budget)

    monkeypatch.setattr(session_module, "memory", lambda: SimpleNamespace(available=10))
    monkeypatch.setattr(session_module, "available_cores", lambda: 6)
    predictor.verbose_preprocessing = False
    plain = Session(predictor, progress=False, say=said.append, own_export=False)
    assert (parts["Preprocessing"]["threads"], parts["Exporting"]["threads"]) == (5, 5)  # one core is the network's
    assert (parts["Preprocessing"]["verbose"], parts["Exporting"]["predictor"]) == (False, None)
    assert parts["CaseChecks"]["patience"].seconds == 300
    assert (plain.budget.limit, plain.budget.given) == (5, False)
    plain.run([], None)
    assert (parts["Pipeline"]["on_bad_case"], parts["Pipeline"]["progress"]) == ("raise", None)
    shared = Budget(3)
    assert Session(predictor, progress=False, say=said.append, memory_budget=9, budget=shared).budget is shared


def test_room_on_a_device_is_what_is_free_and_what_torch_has_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.device] = []

    def figure(value: Any) -> Any:
        return lambda device: asked.append(device) or value

    monkeypatch.setattr(torch.cuda, "mem_get_info", figure((100, 1000)))
    monkeypatch.setattr(torch.cuda, "memory_reserved", figure(70))
    monkeypatch.setattr(torch.cuda, "memory_allocated", figure(50))
    second = torch.device("cuda", 1)
    assert device_room(second) == 120
    assert asked == [second] * 3
    assert device_room(torch.device("cpu")) is None
    assert device_room(torch.device("mps")) is None


@pytest.mark.parametrize("room", [0, 2**60])
@pytest.mark.parametrize("asked", [True, False])
def test_a_device_is_asked_for_its_room_where_it_is_to_keep_all(
    nnunet_dataset: Any, monkeypatch: pytest.MonkeyPatch, asked: bool, room: int
) -> None:
    predictor, said = predictor_of(nnunet_dataset("default")), []
    session = session_of(predictor)
    session._say = said.append  # without what was said before
    predictor.perform_everything_on_device = asked
    monkeypatch.setattr(session_module, "device_room", lambda _: room)
    image = torch.zeros((1, 8, 9, 10))
    passage = plan_passage((8, 9, 10), predictor.configuration_manager.patch_size, 0.5)
    assert session._fits_the_device("case", image, passage) == (room > 0 or not asked)
    assert len(said) == (room == 0 and asked)


def test_what_an_earlier_run_has_left_is_removed_from_every_folder(nnunet_dataset: Any, tmp_path: Path) -> None:
    dataset = nnunet_dataset("default")
    images = copy_images(dataset, tmp_path / "images", 1, (1, 1, 1))
    outs, left = [tmp_path / name for name in "ab"], []
    for out in outs:
        left.append(Outputs().begin(out / "earlier"))
        owner = json.loads((left[-1] / HELD).read_text(encoding="utf-8"))
        (left[-1] / HELD).write_text(json.dumps({**owner, "pid": 2**22 - 1}), encoding="utf-8")
    said: list[str] = []
    session = session_of(predictor_of(dataset, step=1), said)
    files = tuple(images_of(images, "brain_000"))
    checked, _ = session.check([Case(out.name, files, None, str(out / "case")) for out in outs])
    session.run_files(checked)
    assert [line for line in said if line.startswith("removed")] == [
        f"removed incomplete files of a killed run from {out}: {folder.name}" for out, folder in zip(outs, left, strict=True)
    ]
    assert [[file.name for file in out.iterdir()] for out in outs] == [["case.nii.gz"]] * 2


def test_a_prediction_that_fails_half_way_leaves_nothing(
    nnunet_dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = predictor_of(nnunet_dataset("default"), step=1)
    session = session_of(predictor)
    patch = predictor.configuration_manager.patch_size
    image = torch.rand((1, 4 * patch[0], patch[1], patch[2]))
    shape = [int(n) for n in image.shape[1:]]
    properties = {
        "spacing": [4.0] * 3, "shape_before_cropping": shape, "shape_after_cropping_and_before_resampling": shape,
        "bbox_used_for_cropping": [[0, n] for n in shape],
    }  # fmt: skip
    out, begun = tmp_path / "out", []

    def fail(*_: Any) -> Any:
        begun.extend(file.name for file in out.iterdir())
        raise RuntimeError("broken")

    monkeypatch.setattr(predictor, "_internal_maybe_mirror_and_predict", fail)
    with pytest.raises(RuntimeError, match="broken"):
        session.predict("case", image, properties, str(out / "case"))
    assert begun, "planes are decided while they come"
    assert list(out.iterdir()) == []


def test_a_weighting_of_somebodys_own_needs_no_cache(nnunet_dataset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from nnunetv2.inference import predict_from_raw_data

    session = session_of(predictor_of(nnunet_dataset("default")))
    monkeypatch.setattr(predict_from_raw_data, "compute_gaussian", lambda *_, **__: None)
    assert session.run([], 0) == []
