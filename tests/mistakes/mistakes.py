"""Mistakes that somebody could make, each of a line or less: code that is right, and what it could be by oversight."""

from __future__ import annotations

from dataclasses import dataclass

CORE = "cpp/fastnnunet"
PACKAGE = "python/fastnnunet_loader"


@dataclass(frozen=True)
class Mistake:
    """One change of one file."""

    file: str
    what: str
    right: str  # stands in the file exactly once
    wrong: str
    tests: str  # pytest's, separated by spaces: they run where the C++ tests pass, and for a mistake in Python


_SAMPLES = "tests/digests tests/transforms tests/loader"
_PREDICTION = "tests/inference tests/resampling tests/prediction"

MISTAKES = [
    # Which patch
    Mistake(
        f"{CORE}/sampling/patch_sampler.cpp",
        "the odd voxel of a negative padding goes to the other side",
        "const std::int64_t odd = padding - 2 * half;",
        "const std::int64_t odd = padding % 2;",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/sampling/patch_sampler.cpp",
        "a class without voxels may be chosen",
        "return c.count > 0 && (with_annotated || !c.is_annotated);",
        "return with_annotated || !c.is_annotated;",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/sampling/patch_sampler.cpp",
        "a patch of odd size is centred a voxel lower",
        "centre[axis] - options_.patch_size[axis] / 2);",
        "centre[axis] - (options_.patch_size[axis] + 1) / 2);",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/sampling/class_locations.cpp",
        "a voxel's row is counted in columns",
        "linear % plane / shape_[2], linear % shape_[2]}",
        "linear % plane / shape_[1], linear % shape_[2]}",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/random/stream.cpp",
        "no value stays in its place when values are shuffled",
        "std::swap(values[i - 1], values[below(i)]);",
        "std::swap(values[i - 1], values[below(i - 1)]);",
        _SAMPLES,
    ),
    # Transforms
    Mistake(
        f"{CORE}/transforms/intensity/gamma.cpp",
        "an inverted image whose statistics are retained is negated twice",
        "const float sign_out = retain_stats ? 1.0f : sign;",
        "const float sign_out = sign;",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/intensity/contrast.cpp",
        "channels are never synchronized",
        "draw_values(stream, geometry, factor_, synchronize_, p.channels, p.values);",
        "draw_values(stream, geometry, factor_, false, p.channels, p.values);",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/base/border.h",
        "the far border is reflected with its last voxel twice",
        "return at < size ? at : 2 * (size - 1) - at;",
        "return at < size ? at : 2 * size - 1 - at;",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/spatial/low_resolution.cpp",
        "ignored axes are ignored in the first channel only",
        "p.scales[i * dims + static_cast<std::size_t>(axis)] = 1.0;",
        "p.scales[static_cast<std::size_t>(axis)] = 1.0;",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/spatial/mirroring.cpp",
        "labels are not mirrored where only the image was mirrored ahead",
        "if (!sample.has_segmentation() || ahead.labels) return;",
        "if (!sample.has_segmentation() || ahead.image) return;",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/utils/deep_supervision_downsampling.cpp",
        "half a voxel is rounded away from zero, not to the even number",
        "std::nearbyint(static_cast<double>(shape[axis]) * factor)",
        "std::round(static_cast<double>(shape[axis]) * factor)",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/spatial/spatial.cpp",
        "a 2D image is turned by the first angle that was drawn, not by the second",
        "affine_2d(angles[1], scales[0], scales[1])",
        "affine_2d(angles[0], scales[0], scales[1])",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/warp/grid.cpp",
        "align_corners stretches the wrong way",
        "const double stretch = grid.align_corners ? (size - 1) / size : 1.0;",
        "const double stretch = grid.align_corners ? size / (size - 1) : 1.0;",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/warp/grid.cpp",
        "the mean displacement of another axis is taken off",
        "offset -= entry * displacements->mean[of];",
        "offset -= entry * displacements->mean[axis];",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/intensity/random_clip.cpp",
        "a percentile is looked for one value too high",
        "const float place = q * static_cast<float>(std::ssize(values_) - 1);",
        "const float place = q * static_cast<float>(std::ssize(values_));",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/noise/sharpen.cpp",
        "with the same strength for each channel, clamping is still drawn for each",
        "p.clamp.push_back(again ? p.clamp[0] : stream.bernoulli(p_clamp_intensities_));",
        "p.clamp.push_back(stream.bernoulli(p_clamp_intensities_));",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/noise/blank_rectangle.cpp",
        "NumPy's median of an even number of values is torch's",
        "if (!between || values.size() % 2 != 0) return *middle;",
        "if (!between || values.size() % 2 == 0) return *middle;",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/nnunet/remove_connected_components.cpp",
        "one of the corners does not connect voxels",
        "beside <= std::min(y + 1, shape[1] - 1); ++beside)",
        "beside <= y; ++beside)",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/noise/rician.cpp",
        "real and imaginary noise are the same numbers",
        "field.add_normal({imaginary, block.size()}, static_cast<std::uint64_t>(count + begin), sigma);",
        "field.add_normal({imaginary, block.size()}, static_cast<std::uint64_t>(begin), sigma);",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/sample/statistics.cpp",
        "after a negative factor minimum and maximum change places",
        "moments.ordered_ = {std::min(ends[0], ends[1]), std::max(ends[0], ends[1])};",
        "moments.ordered_ = {ends[0], ends[1]};",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/pipeline/pipeline.cpp",
        "what is drawn again after a transform in Python comes from another stream",
        "Stream stream(plan.sample_, draw_purpose(purposes_[step.leaf]));\n        transform.draw(",
        "Stream stream(plan.sample_, draw_purpose(static_cast<std::uint32_t>(step.leaf)));\n        transform.draw(",
        _SAMPLES,
    ),
    # Storage and engine
    Mistake(
        f"{CORE}/storage/volume_cache.cpp",
        "a block whose last row is finite counts as finite",
        "finite = finite && std::all_of(row, row + size[2],",
        "finite = std::all_of(row, row + size[2],",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/engine/location_cache.cpp",
        "what is forgotten still counts as memory",
        "memory_ -= oldest->second.locations->memory();",
        "",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/engine/batch_ring.cpp",
        "one batch more than the budget has room for",
        "if ((in_use_ + 1) * batch_bytes_ > limit_) return nullptr;",
        "if (in_use_ * batch_bytes_ > limit_) return nullptr;",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/engine/loader/batch_queue.cpp",
        "of several errors in a batch the last slot's is given",
        "if (error && (job.error_slot < 0 || slot < job.error_slot)) {",
        "if (error && (job.error_slot < 0 || slot > job.error_slot)) {",
        _SAMPLES,
    ),
    # Prediction
    Mistake(
        f"{CORE}/inference/segmentation.cpp",
        "around the resized logits the first region is on",
        "const float value = channel == 0 && options.regions.empty() ? 1.0f : 0.0f;",
        "const float value = channel == 0 ? 1.0f : 0.0f;",
        _PREDICTION,
    ),
    Mistake(
        f"{CORE}/base/simd/half.h",
        "the largest subnormal numbers of float16 are rounded as normal ones",
        "const float kept = magnitude < 0x38800000u ? subnormal : normal;",
        "const float kept = magnitude < 0x38000000u ? subnormal : normal;",
        _PREDICTION,
    ),
    Mistake(
        f"{CORE}/resampling/axis.cpp",
        "a nearest voxel that is half way is the even one",
        "static_cast<std::int64_t>(std::floor(clamped(position(i, from, to), from) + 0.5));",
        "static_cast<std::int64_t>(std::nearbyint(clamped(position(i, from, to), from)));",
        _PREDICTION,
    ),
    Mistake(
        f"{CORE}/resampling/labels.cpp",
        "of two labels that tie the higher one wins",
        "(score[at] == best && found[at] < winner)",
        "(score[at] == best && found[at] > winner)",
        _PREDICTION,
    ),
    # Python
    Mistake(
        f"{PACKAGE}/nnunet/checkpoint.py",
        "a case that two ranks found to be bad is left out from the later step on",
        "if step < excluded.get(case, step + 1):",
        "if step > excluded.get(case, step - 1):",
        "tests/nnunet/test_checkpoint.py tests/nnunet/test_ranks.py tests/nnunet/test_ddp.py",
    ),
    Mistake(
        f"{PACKAGE}/nnunet/checkpoint.py",
        "whatever is saved beside a checkpoint gets the loaders' state as well",
        "if state is None or not _is_checkpoint(obj):",
        "if state is None:",
        "tests/nnunet/test_checkpoint.py",
    ),
    Mistake(
        f"{PACKAGE}/draws.py",
        "all generators that one call asks for are the same",
        "            self._generators += 1\n",
        "",
        "tests/transforms/test_own_transforms.py tests/loader/test_own_transforms_in_batches.py tests/loader/test_loader.py",
    ),
    Mistake(
        f"{PACKAGE}/draws.py",
        "a function that somebody replaced meanwhile is put back",
        "if getattr(module, name) is value:  # else somebody else replaced it since",
        "if True:",
        "tests/transforms/test_own_transforms.py tests/loader/test_own_transforms_in_batches.py tests/loader/test_loader.py",
    ),
    Mistake(
        f"{PACKAGE}/cases.py",
        "the padding of the rotation counts twice",
        '"pad_sides": (np.asarray(data_loader.need_to_pad) - (patch - final)).tolist(),',
        '"pad_sides": np.asarray(data_loader.need_to_pad).tolist(),',
        "tests/loader/test_cases.py tests/loader/test_loader.py",
    ),
    Mistake(
        f"{PACKAGE}/cases.py",
        "a cascade of .npy files takes its own labels for those of the previous stage",
        'previous="" if previous is None else unpacked(previous, name),',
        'previous="" if previous is None else unpacked(folder, f"{name}_seg"),',
        "tests/loader/test_cases.py tests/loader/test_loader.py",
    ),
    Mistake(
        f"{PACKAGE}/transforms/mapping.py",
        "the upper end of a half-open interval can be drawn",
        "return int(low), int(high) - 1",
        "return int(low), int(high)",
        _SAMPLES,
    ),
    Mistake(
        f"{PACKAGE}/prediction/outputs.py",
        "the segmentation moves to its place before the probabilities",
        "key=lambda file: file.name.endswith(last)",
        "key=lambda file: not file.name.endswith(last)",
        "tests/prediction/test_faults.py tests/prediction/test_export.py tests/prediction/test_prediction_pipeline.py",
    ),
    Mistake(
        f"{PACKAGE}/prediction/conversion.py",
        "labels of a network with 256 classes are written with 8 bits",
        "wide = len(self.labels.foreground_labels) >= 255",
        "wide = len(self.labels.foreground_labels) > 255",
        "tests/prediction/test_natives.py tests/prediction/test_export.py",
    ),
    Mistake(
        f"{PACKAGE}/prediction/preprocess.py",
        "an image that the caller holds is normalised in place",
        "image = np.array(image, np.float32)",
        "image = np.asarray(image, np.float32)",
        "tests/prediction/test_predictor.py tests/prediction/test_natives.py tests/prediction/test_preprocess.py",
    ),
    Mistake(
        f"{PACKAGE}/loader.py",
        "a skipped case is reported with every batch",
        "                self._reported.add(bad.name)\n",
        "",
        "tests/loader/test_loader.py tests/faults",
    ),
]
