"""What is found before the first case is predicted: case, file, what was found and what was expected."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from nnunetv2.utilities.utils import create_lists_from_splitted_dataset_folder
from raw_images import copy_images, description, images_of

from fastnnunet_loader.errors import PredictionError
from fastnnunet_loader.prediction.images import Header, Lack, missing_voxels, read_header
from fastnnunet_loader.prediction.images.cases import Case, find_cases, pending, with_targets
from fastnnunet_loader.prediction.images.checks import CaseChecks, free_space_problem, model_problem, output_problem
from fastnnunet_loader.prediction.images.fingerprint import Fingerprint, intensity_warnings
from fastnnunet_loader.prediction.session.memory import NETWORK_ON_CPU, Need, estimate


@pytest.fixture
def two(nnunet_dataset: Any, tmp_path: Path) -> tuple[CaseChecks, list[str]]:
    """Checks for cases of two channels, and the files of a case."""
    return checks(nnunet_dataset("two_channels")), images_of(
        copy_images(nnunet_dataset("two_channels"), tmp_path / "i", 1), "brain_000"
    )


def checks(dataset: Any, configuration: str = "3d_fullres") -> CaseChecks:
    plans = PlansManager(dataset.plans)
    return CaseChecks(plans, plans.get_configuration(configuration), description(dataset))


def refused(checks: CaseChecks, files: list[str], previous: str | None = None) -> PredictionError:
    _, bad = checks.check([Case("brain_000", tuple(files), previous)])
    assert len(bad) == 1
    assert (bad[0].case, bad[0].stage) == ("brain_000", "check")
    return bad[0]


def save(file: Path, shape: tuple[int, ...] = (8, 9, 10), spacing: float = 4) -> str:
    nibabel.save(nibabel.Nifti1Image(np.ones(shape, np.float32), np.eye(4) * spacing), file)
    return str(file)


def test_good_case_has_a_header(two: tuple[CaseChecks, list[str]]) -> None:
    good, bad = two[0].check([Case("brain_000", tuple(two[1]))])
    assert not bad
    header = good[0][1]
    assert header is not None
    assert header.shape == tuple(nibabel.load(two[1][0]).shape[::-1])
    assert (header.channels, header.itemsize) == (1, 4)


def test_missing_channel(two: tuple[CaseChecks, list[str]]) -> None:
    error = refused(two[0], two[1][:1])
    assert error.file == two[1][1]
    assert "expected 2 channels (T1, rescale_to_0_1), got 1 and no such file" in str(error)


def test_too_many_channels(two: tuple[CaseChecks, list[str]], tmp_path: Path) -> None:
    error = refused(two[0], [*two[1], save(tmp_path / "brain_000_0002.nii.gz")])
    assert "expected 2 channels (T1, rescale_to_0_1), got 3 in brain_000_0000.nii.gz" in str(error)


@pytest.mark.parametrize(("shape", "spacing", "said"), [((8, 9, 9), 4, "size"), ((0, 0, 0), 2, "spacing")])
def test_channels_that_do_not_fit_together(
    two: tuple[CaseChecks, list[str]], tmp_path: Path, shape: tuple[int, ...], spacing: float, said: str
) -> None:
    first = nibabel.load(two[1][0])
    other = save(tmp_path / "other_0001.nii.gz", shape if shape[0] else first.shape, spacing)
    error = refused(two[0], [two[1][0], other])
    assert error.file == other
    assert f"expected the {said} (" in str(error)


def test_missing_empty_and_foreign_files(two: tuple[CaseChecks, list[str]], tmp_path: Path) -> None:
    assert "expected a file, got none" in str(refused(two[0], [two[1][0], str(tmp_path / "none_0001.nii.gz")]))
    (tmp_path / "empty_0001.nii.gz").touch()
    assert "got an empty file" in str(refused(two[0], [two[1][0], str(tmp_path / "empty_0001.nii.gz")]))
    (tmp_path / "text_0001.nii.gz").write_bytes(b"no image")
    assert "expected an image that can be read" in str(refused(two[0], [two[1][0], str(tmp_path / "text_0001.nii.gz")]))


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
@pytest.mark.parametrize("scaling", [(1, 0), (0.5, 10)])
def test_truncated_file(tmp_path: Path, ending: str, scaling: tuple[float, float]) -> None:
    voxels = np.random.default_rng(0).integers(0, 1000, (20, 30, 40)).astype(np.int16)
    image = nibabel.Nifti1Image(voxels, np.eye(4))
    image.header.set_slope_inter(*scaling)
    file = tmp_path / f"case_0000{ending}"
    nibabel.save(image, file)
    assert missing_voxels(str(file)) is None
    whole = file.read_bytes()
    for missing in (1, len(whole) // 2, len(whole) - 400):
        file.write_bytes(whole[:-missing])
        assert missing_voxels(str(file)) is not None, missing


def test_gzip_of_several_parts_is_whole(tmp_path: Path) -> None:
    content = Path(save(tmp_path / "case_0000.nii", (20, 30, 40))).read_bytes()
    parts = tmp_path / "case_0000.nii.gz"
    parts.write_bytes(gzip.compress(content[:5000]) + gzip.compress(content[5000:]) + gzip.compress(b""))
    assert missing_voxels(str(parts)) is None
    parts.write_bytes(gzip.compress(content[:5000]) + gzip.compress(content[5000:-400]) + gzip.compress(b""))
    lack = missing_voxels(str(parts))
    assert lack is not None
    assert lack.certain
    assert lack.expected == "96000 bytes of voxels, got 95600"


def test_reader_has_the_last_word(two: tuple[CaseChecks, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """What only looks bad is read, and taken where nnU-Net's reader takes it."""
    monkeypatch.setattr(
        "fastnnunet_loader.prediction.images.checks.missing_voxels", lambda _: Lack("something else", certain=False)
    )
    good, bad = two[0].check([Case("brain_000", tuple(two[1]))])
    assert not bad
    header = good[0][1]
    assert header is not None
    assert header.shape == tuple(nibabel.load(two[1][0]).shape[::-1])


def test_previous_stage_of_another_size(nnunet_dataset: Any, tmp_path: Path) -> None:
    dataset = nnunet_dataset("cascade")
    files = images_of(copy_images(dataset, tmp_path / "images", 1), "brain_000")
    error = refused(checks(dataset, "3d_cascade_fullres"), files, save(tmp_path / "brain_000.nii.gz"))
    assert "expected the size" in str(error)
    assert "expected a segmentation of the stage 3d_lowres" in str(refused(checks(dataset, "3d_cascade_fullres"), files))


def test_files_become_cases(tmp_path: Path) -> None:
    for name in ("b_0000.nii.gz", "b_0001.nii.gz", "a_0000.nii.gz", "stray.nii.gz", "other_0000.txt"):
        (tmp_path / name).touch()
    files, strays = find_cases(str(tmp_path), ".nii.gz")
    assert [[Path(file).name for file in case] for case in files] == [["a_0000.nii.gz"], ["b_0000.nii.gz", "b_0001.nii.gz"]]
    assert [error.case for error in strays] == ["stray"]
    cases = with_targets(files, ".nii.gz", tmp_path / "out", tmp_path)
    assert [(case.name, case.previous) for case in cases] == [(n, str(tmp_path / f"{n}.nii.gz")) for n in "ab"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.nii.gz").touch()
    assert [case.name for case in pending(cases, ".nii.gz", False)] == ["b"]
    assert [case.name for case in pending(cases, ".nii.gz", True)] == ["a", "b"]


FOLDERS = {
    "cases": ["b_0000.nii.gz", "a_0000.nii.gz", "a_0001.nii.gz"],
    "no channel": ["a_0000.nii.gz", "b.nii.gz"],
    "another word where the channel is": ["a_0000.nii.gz", "a_mask.nii.gz"],
    "a channel of five digits": ["a_0000.nii.gz", "a_00001.nii.gz"],
    "a channel of three digits": ["a_0000.nii.gz", "a_001.nii.gz"],
    "a short name": ["a_0000.nii.gz", "x.nii.gz"],
    "a name of nothing": ["_0000.nii.gz"],
    "hidden": ["a_0000.nii.gz", "._a_0000.nii.gz", ".DS_Store"],
    "other files": ["a_0000.nii.gz", "a_0000.json", "a_0000.nii", "a_0001.nii.gz.part", "a_0000.NII.GZ"],
    "dots and blanks": ["a b.c_0000.nii.gz", "a b.c_0001.nii.gz"],
    "two numbers": ["a_0000_0000.nii.gz", "a_0000_0001.nii.gz", "a_0001.nii.gz"],
    "none": [],
}


@pytest.mark.parametrize("names", FOLDERS.values(), ids=FOLDERS)
def test_cases_of_a_folder_are_nnunets(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "folder_0000.nii.gz").mkdir()
    theirs = create_lists_from_splitted_dataset_folder(str(tmp_path), ".nii.gz", num_processes=1)
    ours, strays = find_cases(str(tmp_path), ".nii.gz")
    assert ours == [case for case in theirs if case]
    assert bool(strays) == any(not case for case in theirs), "where nnU-Net stops with an IndexError"


def test_what_a_model_lacks(tmp_path: Path) -> None:
    folder = tmp_path / "T__P__3d"
    assert "no such folder" in str(model_problem(folder, [0], "x.pth"))
    (folder / "fold_1").mkdir(parents=True)
    assert "there are: T__P__3d" in str(model_problem(tmp_path / "T__P__2d", [0], "x.pth"))
    assert "expected plans.json" in str(model_problem(folder, [0], "x.pth"))
    (folder / "plans.json").touch()
    (folder / "dataset.json").touch()
    (folder / "fold_1" / "x.pth").touch()
    assert "fold_0, got none\n  it is in: fold_1" in str(model_problem(folder, [0], "x.pth"))
    assert model_problem(folder, [1], "x.pth") is None


def test_output_folder_and_free_space(tmp_path: Path) -> None:
    assert output_problem(tmp_path / "new") is None
    (tmp_path / "file").touch()
    assert "expected a folder that can be written to" in str(output_problem(tmp_path / "file" / "below"))
    header = Header(1, (10**6, 10**6, 10**6), (1, 1, 1), 4, 0)
    assert "free on the disk" in str(free_space_problem(tmp_path, [(Case("a", ("f",)), header)], 3, False))
    small = Header(1, (10, 10, 10), (1, 1, 1), 4, 0)
    assert free_space_problem(tmp_path, [(Case("a", ("f",)), small)], 3, False) is None


def test_images_that_are_far_from_the_training(trained: Any, tmp_path: Path) -> None:
    dataset, model = trained()
    assert (model / "dataset_fingerprint.json").is_file(), "a training leaves it"
    fingerprint = Fingerprint.read(model)
    assert fingerprint is not None
    header = read_header(SimpleITKIO, copy_images(dataset, tmp_path, 1, (1, 1, 1)).as_posix() + "/brain_000_0000.nii.gz")
    assert header is not None
    assert list(fingerprint.warnings("a", header)) == []
    thick = Header(1, (header.shape[0] // 4, *header.shape[1:]), (16.0, 4.0, 4.0), 4, 0)
    (warning,) = fingerprint.warnings("a", thick)
    assert warning.startswith("[a] a spacing of (16, 4, 4) mm is far from the training's (4 to 4, ")
    (warning,) = fingerprint.warnings("a", Header(1, (header.shape[0], 400, header.shape[2]), (4.0, 4.0, 4.0), 4, 0))
    assert warning.startswith("[a] a size of (")
    assert Fingerprint.read(tmp_path) is None
    (tmp_path / "dataset_fingerprint.json").write_text("{}", encoding="utf-8")
    assert Fingerprint.read(tmp_path) is None


def test_intensities_that_are_far_from_the_training() -> None:
    known = {"0": {"percentile_00_5": -900.0, "percentile_99_5": 200.0}}

    def warnings(low: float, high: float, scheme: str = "CTNormalization") -> list[str]:
        image = np.linspace(low, high, 8, dtype=np.float32).reshape(1, 2, 2, 2)
        return list(intensity_warnings("a", image, [scheme], known))

    assert warnings(-1024, 3000) == []
    assert warnings(0, 1)[0].startswith("[a] intensities from 0 to 1 in channel 0 are far from the training's (-900 to 200)")
    assert warnings(1000, 3000)
    assert warnings(0, 1, "ZScoreNormalization") == [], "which looks at each image alone"
    assert list(intensity_warnings("a", np.zeros((1, 1, 1, 1)), ["CTNormalization"], {})) == []


def test_estimate_grows_with_what_a_case_is_made_of(nnunet_dataset: Any) -> None:
    dataset = nnunet_dataset("default")
    plans = PlansManager(dataset.plans)
    chosen, labels = plans.get_configuration("3d_fullres"), plans.get_label_manager(description(dataset))

    def need(size: int = 100, **more: Any) -> Need:
        header = Header(1, (size, size, size), (4, 4, 4), 4, 0)
        return estimate(header, 1, plans, chosen, labels, **more)

    plain = need()
    assert plain.export >= 3 * 2 * 100**3 + 100**3, "logits of three classes in half precision, and labels"
    assert need(200).most > 5 * (plain.most - NETWORK_ON_CPU)
    assert need(folds=2).predict > plain.predict
    assert need(save_probabilities=True).export >= plain.export + 3 * 4 * 100**3
    assert need(native_export=False).export > plain.export
    assert need(native_preprocessing=False).preprocess > plain.preprocess
    assert need(on_cpu=False).predict < plain.predict
    assert plain.beyond(plain.most) is None
