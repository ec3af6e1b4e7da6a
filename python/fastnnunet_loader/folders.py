"""nnU-Net's folders and data sets, found from the arguments of the commands."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

from .errors import CommandError

__all__ = [
    "check_dataset",
    "check_plans",
    "dataset_folder",
    "dataset_name",
    "dataset_number",
    "inherited",
    "is_ours",
    "listed",
    "nnunet_folders",
    "read_json",
]

ROOTS = ("nnUNet_preprocessed", "nnUNet_raw", "nnUNet_results")


def nnunet_folders(names: tuple[str, ...]) -> dict[str, Path]:
    """Return the folders that nnU-Net's environment variables name."""
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise CommandError(
            f"[{', '.join(missing)}] expected the environment to name nnU-Net's folder{'s' * (len(missing) > 1)}, "
            f"got nothing\n  export {missing[0]}=/path/to/{missing[0]}"
        )
    folders = {name: Path(os.environ[name]) for name in names}
    if not folders["nnUNet_preprocessed"].is_dir():
        raise CommandError(f"[nnUNet_preprocessed] expected a folder, got {folders['nnUNet_preprocessed']}")
    return folders


def dataset_name(given: str, option: str = "DATASET") -> str:
    """Return the name of a data set from its name or number, as nnU-Net finds it.

    Text that begins with "Dataset" is a name. A number stands for the only data set with that number in nnU-Net's three
    folders, whichever of them it is in; files are ignored. Raises CommandError.
    """
    if given.startswith("Dataset"):
        return given
    try:
        number = int(given)
    except ValueError:
        raise CommandError(
            f"[{option}] expected the number of a data set, or a name that begins with 'Dataset', got {given!r}\n  {_known()}"
        ) from None
    found = sorted({folder.name for folder in _datasets() if folder.name.startswith(f"Dataset{number:03d}")})
    if len(found) > 1:
        where = [str(folder) for folder in _datasets() if folder.name in found]
        raise CommandError(
            f"[{option}] expected a number that one data set has, got {given}: {listed(found)}\n"
            f"  give the name, or rename one of {listed(where)}"
        )
    if not found:
        raise CommandError(f"[{option}] expected the number of a data set, got {given!r}\n  {_known()}")
    return found[0]


def _datasets() -> list[Path]:
    """Return the folders of all data sets in nnU-Net's folders."""
    roots = [Path(os.environ[name]) for name in ROOTS if os.environ.get(name)]
    return [path for root in roots if root.is_dir() for path in sorted(root.glob("Dataset*")) if path.is_dir()]


def _known() -> str:
    roots = [os.environ[name] for name in ROOTS if os.environ.get(name)]
    return f"in {listed(roots)}: {listed(sorted({folder.name for folder in _datasets()}))}"


def dataset_folder(given: str, preprocessed: Path) -> Path:
    """Return the folder of a data set's preprocessed files, from its name or number."""
    name = dataset_name(given)
    if not name or "/" in name or not (preprocessed / name).is_dir():
        known = sorted(path.name for path in preprocessed.glob("Dataset*") if path.is_dir())
        raise CommandError(
            f"[DATASET] expected a preprocessed data set, got {given!r}\n"
            f"  in {preprocessed}: {listed(known)}; nnUNetv2_plan_and_preprocess adds others"
        )
    return preprocessed / name


def dataset_number(dataset: Path) -> int | str:
    """Return the number in the name of a data set's folder, or the name if it has none."""
    match = re.match(r"Dataset(\d+)", dataset.name)
    return dataset.name if match is None else int(match[1])


def check_dataset(dataset: Path, plans_name: str, configuration: str, fold: str, trainer: str = "nnUNetTrainer") -> None:
    """Check the files that nnU-Net reads before it opens a case. Raises CommandError that names the first bad one."""
    check_plans(dataset, plans_name, configuration)
    description = dataset / "dataset.json"
    if not description.is_file():
        raise CommandError(f"[{description}] expected a file, got none")
    _object(description)
    splits = dataset / "splits_final.json"
    if fold == "all" or not splits.is_file():  # nnU-Net does not read it, or writes a new one
        return
    folds = _content(splits)
    if trainer != "nnUNetTrainer":  # others may split in a way of their own, by a file of another form
        return
    if not isinstance(folds, list):
        raise CommandError(f"[{splits}] expected a list of folds, got {_kind(folds)}")
    chosen = folds[int(fold)] if int(fold) < len(folds) else {"train": [], "val": []}  # nnU-Net then makes a split of its own
    if not (isinstance(chosen, dict) and all(isinstance(chosen.get(part), list) for part in ("train", "val"))):
        raise CommandError(f"[{splits}] expected 'train' and 'val', two lists of cases, in fold {fold}, got {_kind(chosen)}")


def check_plans(dataset: Path, plans_name: str, configuration: str) -> None:
    """Raise CommandError if the plans lack the configuration, or if it has not been preprocessed."""
    file = dataset / f"{plans_name}.json"
    if not file.is_file():
        others = sorted(p.stem for p in dataset.glob("*.json") if "configurations" in read_json(p))
        raise CommandError(f"[-p] expected plans of {dataset.name}, got {plans_name!r}\n  there are: {listed(others)}")
    configurations = _object(file).get("configurations", {})
    if configuration not in configurations:
        raise CommandError(
            f"[CONFIG] expected a configuration of {plans_name}, got {configuration!r}\n"
            f"  there are: {listed(sorted(configurations))}"
        )
    identifier = inherited(configurations, configuration, "data_identifier")
    folder = dataset / str(identifier)
    if not any(folder.glob("*.pkl")):
        command = ["nnUNetv2_preprocess", "-d", str(dataset_number(dataset))]
        raise CommandError(
            f"[CONFIG] expected preprocessed cases of {configuration} in {folder}, got none\n"
            "  " + shlex.join([*command, "-plans_name", plans_name, "-c", configuration])
        )


def inherited(configurations: dict[str, Any], name: str, key: str) -> Any:
    """Return a setting of a configuration, or of the configuration that it inherits from."""
    seen: set[str] = set()
    while name in configurations and name not in seen:
        seen.add(name)
        if key in configurations[name]:
            return configurations[name][key]
        name = configurations[name].get("inherits_from", "")
    return None


def read_json(file: Path) -> dict[str, Any]:
    """Return the object in a JSON file, or an empty one if the file holds something else."""
    content = _content(file)
    return content if isinstance(content, dict) else {}


def _object(file: Path) -> dict[str, Any]:
    content = _content(file)
    if not isinstance(content, dict):
        raise CommandError(f"[{file}] expected a JSON object, got {_kind(content)}")
    return content


def _content(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CommandError(f"[{file}] expected a JSON file, got {error}") from error


def _kind(content: Any) -> str:
    if isinstance(content, dict):
        return f"an object with {listed(sorted(map(str, content)))}"
    return {list: "a list", str: "a text", type(None): "null"}.get(type(content), repr(content))


def listed(names: list[str]) -> str:
    """Return names as part of a sentence."""
    return ", ".join(names) if names else "none"


def is_ours(picture: Path) -> bool:
    """Return whether a file is a picture that this package wrote and may overwrite."""
    from PIL import Image

    from .settings import PICTURES_BY

    try:
        with Image.open(picture) as found:
            return found.format == "PNG" and found.info.get("Software") == PICTURES_BY
    except (OSError, ValueError, SyntaxError):  # what Pillow raises for anything else
        return False
