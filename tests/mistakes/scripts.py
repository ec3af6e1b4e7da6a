"""Mistakes in what scripts give: regression targets, seeds of ranks, labels and names of cases."""

from __future__ import annotations

from .mistake import CORE, PACKAGE, Mistake

_TARGETS = "tests/loader/test_targets_in_python.py"
_WRONG = "tests/loader/test_wrong_inputs.py"

SCRIPTS = [
    Mistake(
        f"{CORE}/pipeline/run.cpp",
        "a transform in Python sees a regression target that native transforms before it have not moved",
        "      move(*follower, plan, followed, i);\n",
        "",
        _TARGETS,
    ),
    Mistake(
        f"{CORE}/pipeline/pipeline.cpp",
        "native moves of labels that have become regions move the image in Python and the target natively",
        "if (!traits.native || (traits.moves_voxels && (listed || (regions && !traits.takes_regions)))) return true;",
        "if (!traits.native) return true;",
        _TARGETS,
    ),
    Mistake(
        f"{PACKAGE}/transforms/regression.py",
        "a transform that forgets targets is found out by the first batch, or never",
        "if kind._apply_to_regr_target is own[0]",
        "if False and kind._apply_to_regr_target is own[0]",
        _TARGETS,
    ),
    Mistake(
        f"{PACKAGE}/augmentation/called.py",
        "TorchIO's transforms of intensities change regression targets",
        'if isinstance(transform, IntensityTransform):\n        along = "alone"',
        'if isinstance(transform, IntensityTransform):\n        along = "along"',
        "tests/augmentation/test_from_torchio.py",
    ),
    Mistake(
        f"{PACKAGE}/loading/scripts/ranks.py",
        "ranks whose generators differ train with seeds of their own",
        "(first := agree(_next_name(role), seed)) != seed",
        "(first := agree(_next_name(role), seed)) < 0",
        "tests/loader/test_shared_batches.py",
    ),
    Mistake(
        f"{PACKAGE}/loading/scripts/arguments.py",
        "a set of names is taken, whose order is another one in each process",
        "isinstance(names, (str, Set, Mapping))",
        "isinstance(names, (str, Mapping))",
        _WRONG,
    ),
    Mistake(
        f"{PACKAGE}/loading/scripts/arrays.py",
        "labels in floats of a data set are cut to whole numbers",
        "if (odd := array[whole != array]).size:",
        "if (odd := array[array != array]).size:",
        "tests/pytorch/test_datasets_of_torch.py",
    ),
    Mistake(
        f"{PACKAGE}/packing/dicom.py",
        "a DICOM series is read in the order of the names of its files",
        "    reader.SetFileNames(files)\n",
        "    reader.SetFileNames(sorted(files))\n",
        "tests/packing",
    ),
    Mistake(
        f"{PACKAGE}/prediction/volume/given.py",
        "complex images are predicted without their imaginary parts",
        "if volume.is_complex() or volume.is_quantized",
        "if volume.is_quantized",
        "tests/prediction/volume",
    ),
]
