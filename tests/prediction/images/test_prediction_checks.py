"""What is found before the first case is predicted: case, file, what was found and what was expected."""

from __future__ import annotations

import errno
import gzip
import shutil
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
from fastnnunet_loader.loading.reading.patience import Patience
from fastnnunet_loader.prediction.images import Header, Lack, missing_voxels, read_header
from fastnnunet_loader.prediction.images.cases import Case, find_cases, name_of, pending, with_targets
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

    def broken(*_: Any) -> Any:
        raise RuntimeError("no such voxels")

    monkeypatch.setattr(two[0].reader, "read_images", broken)
    assert refused(two[0], two[1]).reason == "expected something else (SimpleITKIO: RuntimeError: no such voxels)"


def test_previous_stage_of_another_size(nnunet_dataset: Any, tmp_path: Path) -> None:
    dataset = nnunet_dataset("cascade")
    files = images_of(copy_images(dataset, tmp_path / "images", 1), "brain_000")
    error = refused(checks(dataset, "3d_cascade_fullres"), files, save(tmp_path / "brain_000.nii.gz"))
    assert "expected the size" in str(error)
    assert "a segmentation of the previous stage, 3d_lowres" in str(refused(checks(dataset, "3d_cascade_fullres"), files))


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
    # As nnU-Net names the output files: without the last five characters before the ending.
    named = [Path(case[0]).name[: -len("_0000.nii.gz")] for case in ours]
    cases = with_targets(ours, ".nii.gz", tmp_path / "out", tmp_path)
    assert [(case.name, case.target) for case in cases] == [(name, str(tmp_path / "out" / name)) for name in named]
    assert [case.previous for case in cases] == [str(tmp_path / f"{name}.nii.gz") for name in named]
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


def test_a_case_with_probabilities_has_both_files(tmp_path: Path) -> None:
    (case,) = with_targets([["a_0000.nii.gz"]], ".nii.gz", tmp_path, None)
    assert case.previous is None
    for there, missing, missing_with_probabilities in (
        ([], True, True),
        (["a.nii.gz"], False, True),
        (["a.npz"], True, True),
        (["a.nii.gz", "a.npz"], False, False),
    ):
        for name in ("a.nii.gz", "a.npz"):
            (tmp_path / name).unlink(missing_ok=True)
        for name in there:
            (tmp_path / name).touch()
        assert bool(pending([case], ".nii.gz", False)) == missing, there
        assert bool(pending([case], ".nii.gz", True)) == missing_with_probabilities, there


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(
    ("what", "at_most", "too_far"),
    [("a spacing", 2.0, 2.1), ("a spacing", 0.5, 0.45), ("a size", 3.0, 3.3), ("a size", 0.34, 0.3)],
)
def test_how_far_from_the_training_is_far(what: str, at_most: float, too_far: float, axis: int) -> None:
    """On each axis, on both sides of what two training images had."""
    spacings, shapes = [[4.0, 2.0, 1.0], [5.0, 2.5, 1.25]], [[40, 100, 200], [32, 80, 160]]
    fingerprint = Fingerprint(spacings, shapes)
    for factor, far in ((at_most, False), (too_far, True)):
        spacing, extents = list(spacings[1] if factor > 1 else spacings[0]), [160.0, 200.0, 200.0]
        if what == "a spacing":
            spacing[axis] *= factor
        else:
            extents[axis] *= factor
        shape = [round(extent / s) for extent, s in zip(extents, spacing, strict=True)]
        header = Header(1, (shape[0], shape[1], shape[2]), (spacing[0], spacing[1], spacing[2]), 4)
        said = [line.split(" of (")[0] for line in fingerprint.warnings("a", header)]
        assert said == ([f"[a] {what}"] if far else []), (factor, header)


def test_intensities_of_each_channel_and_scheme() -> None:
    known = {
        "0": {"percentile_00_5": 0.0, "percentile_99_5": 100.0},
        "1": {"percentile_00_5": 1000.0, "percentile_99_5": 2000.0},
    }

    def warned(first: tuple[float, float], second: tuple[float, float], *schemes: str) -> list[str]:
        image = np.stack([np.linspace(*ends, 8, dtype=np.float32).reshape(2, 2, 2) for ends in (first, second)])
        return [line.partition(" are far")[0] for line in intensity_warnings("a", image, schemes, known)]

    both = ("CTNormalization", "CTNormalization")
    good, other = (0, 100), (1000, 2000)
    assert warned(good, other, *both) == []
    assert warned(good, (0, 100), *both) == ["[a] intensities from 0 to 100 in channel 1"]
    assert warned(other, other, *both) == ["[a] intensities from 1000 to 2000 in channel 0"]
    assert warned((-200, -1), other, *both) == ["[a] intensities from -200 to -1 in channel 0"], "darker than all"
    assert warned((101, 300), other, *both) == ["[a] intensities from 101 to 300 in channel 0"], "brighter than all"
    assert warned((50, 59), other, *both) == ["[a] intensities from 50 to 59 in channel 0"], "narrower than a tenth"
    assert warned((50, 61), other, *both) == []
    for scheme in ("NoNormalization", "RGBTo01Normalization"):
        assert warned(good, good, "ZScoreNormalization", scheme) == ["[a] intensities from 0 to 100 in channel 1"]
    assert warned(other, good, "ZScoreNormalization", "RescaleTo01Normalization") == []


def test_what_is_missing_of_a_model_is_what_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "T__P__3d"
    (folder / "fold_all").mkdir(parents=True)
    (folder / "fold_all" / "x.pth").touch()
    for name, other in (("plans.json", "dataset.json"), ("dataset.json", "plans.json")):
        (folder / other).touch()
        assert str(model_problem(folder, ["all"], "x.pth")).startswith(f"expected {name} in {folder}, got none")
        assert str(model_problem(folder / "fold_all", ["all"], "x.pth")).startswith("expected plans.json in")
        (folder / other).unlink()
    for name in ("plans.json", "dataset.json"):
        (folder / name).touch()
    assert model_problem(folder, ["all"], "x.pth") is None
    assert str(model_problem(folder, ["all", 0], "x.pth")) == (
        f"expected x.pth in {folder / 'fold_0'}, got none\n  it is in: fold_all"
    )
    assert str(model_problem(folder, ["all"], "y.pth")).endswith("it is in: no fold")


def test_free_space_is_for_everything_that_is_written(tmp_path: Path) -> None:
    """The largest case as it is, and what is left of all when they are compressed."""
    free = shutil.disk_usage(tmp_path).free

    def problem(*voxels: float, heads: int = 3, probabilities: bool = False) -> str | None:
        headers = [Header(1, (1, 1, int(n)), (1, 1, 1), 4) for n in voxels]
        return free_space_problem(tmp_path, [(Case("a", ("f",)), h) for h in headers], heads, probabilities)

    assert problem(0.5 * free) is None
    assert problem(1.5 * free) is not None
    assert problem(0.5 * free, probabilities=True) is not None, "13 bytes for each voxel"
    assert problem(0.05 * free, probabilities=True) is None
    assert problem(0.1 * free, probabilities=True) is not None, "4 bytes for each class"
    assert problem(0.05 * free, heads=30, probabilities=True) is not None, "121 bytes for each voxel"
    assert problem(*[0.5 * free] * 4) is None
    assert problem(*[0.5 * free] * 60) is not None, "two hundredths of each"
    assert free_space_problem(tmp_path, [(Case("a", ("f",)), None)], 3, False) is None, "nothing is known of it"


class Away:
    """A call in the place of a reader's that counts, and finds a file server that does not answer."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, *_: Any) -> Any:
        self.calls += 1
        raise OSError(errno.ESTALE, "stale file handle")


def test_a_server_is_waited_for_once_in_a_check(
    two: tuple[CaseChecks, list[str]], nnunet_dataset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    plans = PlansManager(nnunet_dataset("two_channels").plans)
    patience = Patience(0.3, said.append)
    dataset_json = description(nnunet_dataset("two_channels"))
    patient = CaseChecks(plans, plans.get_configuration("3d_fullres"), dataset_json, patience)
    cases = [Case("brain_000", tuple(two[1])), Case("brain_001", tuple(two[1]))]
    away = Away()
    monkeypatch.setattr("fastnnunet_loader.prediction.images.checks.read_header", away)
    monkeypatch.setattr(patient.reader, "read_images", away)
    _, bad = patient.check(cases)
    assert [error.case for error in bad] == ["brain_000", "brain_001"]
    assert len(said) == 1, "the second case did not wait"
    first = away.calls
    assert first > 4
    assert patient.patience is patience
    patient.check(cases)
    assert len(said) == 2, "another check waits again"


def test_files_that_do_not_fit_are_named_by_the_first_of_the_case(two: tuple[CaseChecks, list[str]], tmp_path: Path) -> None:
    """Spacings may differ in their last digits, as they are stored; a segmentation's spacing is not looked at."""
    image = nibabel.load(two[1][1])
    nearly = str(tmp_path / "brain_000_0001.nii.gz")
    for factor, good in ((1 + 2e-6, True), (1 + 1e-4, False)):
        affine = image.affine.copy()
        affine[2, 2] *= factor
        nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), affine), nearly)
        _, bad = two[0].check([Case("brain_000", (two[1][0], nearly))])
        assert (not bad) == good
    assert "of brain_000_0000.nii.gz, got (" in str(bad[0])
    case, header = Case("brain_000", (two[1][0],)), read_header(SimpleITKIO, two[1][0])
    two[0].check_segmentation(case, nearly, header)
    with pytest.raises(PredictionError, match=r"other\.nii\.gz: expected the size"):
        two[0].check_segmentation(case, save(tmp_path / "other.nii.gz"), header)
    two[0].check_segmentation(case, save(tmp_path / "other.nii.gz"), None)
    stacked = nibabel.Nifti1Image(np.ones((8, 9, 10, 2), np.float32), np.eye(4))
    nibabel.save(stacked, tmp_path / "stacked.nii.gz")
    with pytest.raises(PredictionError, match="expected a segmentation with 1 channel, got 2"):
        two[0].check_segmentation(case, str(tmp_path / "stacked.nii.gz"), header)


def test_what_cannot_be_written_matters_where_it_is_written(nnunet_dataset: Any, tmp_path: Path) -> None:
    """nnU-Net reads both channels from one file, but cannot write a segmentation of such an image."""
    file = tmp_path / "case_0000.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.ones((8, 9, 10, 2), np.float32), np.eye(4) * 4), file)
    of_two = checks(nnunet_dataset("two_channels"))
    for target, writes, refuses in (("out", True, True), ("out", False, False), (None, True, False)):
        good, bad = of_two.check([Case("case", (str(file),), None, target)], writes)
        assert (len(good), len(bad)) == ((0, 1) if refuses else (1, 0)), (target, writes)
        if refuses:
            assert f"{file}: expected an image of 2 or 3 dimensions" in str(bad[0])
        else:
            assert good[0][1] is not None
            assert good[0][1].channels == 2
    assert "got 2 in case_0000.nii.gz" in refused(checks(nnunet_dataset("default")), [str(file)]).reason


def test_plans_of_another_number_of_channels_are_told(two: tuple[CaseChecks, list[str]], nnunet_dataset: Any) -> None:
    dataset = nnunet_dataset("two_channels")
    plans = PlansManager(dataset.plans)
    about = {**description(dataset), "channel_names": {"0": "a", "1": "b", "2": "c"}}
    of_three = CaseChecks(plans, plans.get_configuration("3d_fullres"), about)
    third = save(Path(two[1][0]).parent / "brain_000_0002.nii.gz")
    for files in (two[1], [*two[1], third]):
        assert "expected as many channels in dataset.json as in the plans (2), got 3" in refused(of_three, files).reason
    # As older versions name them.
    named = {name: value for name, value in about.items() if name != "channel_names"}
    older = CaseChecks(plans, plans.get_configuration("3d_fullres"), {**named, "modality": {"0": "T1", "1": "T2"}})
    assert older.channels == ["T1", "T2"]
    assert older.check([Case("brain_000", tuple(two[1]))])[1] == []


def test_the_first_channel_that_is_missing_is_named(two: tuple[CaseChecks, list[str]]) -> None:
    error = refused(two[0], two[1][1:])
    assert error.file == two[1][0]
    assert refused(two[0], []).file == ""


def test_the_name_of_a_case_is_without_the_number_of_a_channel_if_it_has_one() -> None:
    for file, name in (
        ("a/b_0000.nii.gz", "b"),
        ("b_0123.nii.gz", "b"),
        ("b.nii.gz", "b"),  # a segmentation, which has none
        ("scan_2024.01_0000.nii.gz", "scan_2024.01"),
        ("b_0001_0000.nii.gz", "b_0001"),
        ("b_0001_x.nii.gz", "b_0001_x"),
        ("b_00000.nii.gz", "b_00000"),
        ("long name.nii.gz", "long name"),
    ):
        assert name_of(file, ".nii.gz") == name
