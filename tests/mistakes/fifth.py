"""A fifth list: forty mistakes, again by somebody who had not seen the tests."""

from __future__ import annotations

from .mistake import CORE, PACKAGE, Mistake

_SAMPLES = "tests/digests tests/transforms tests/loader tests/faults tests/package"
_PREDICTION = "tests/inference tests/resampling tests/prediction"

FIFTH = [
    Mistake(
        f"{CORE}/storage/numpy/npy_volume.cpp",
        "voxels of an uncompressed .npz (numpy.savez) are read from a wrong place of the file",
        "new NpyVolume(std::move(file), header, shape, offset + text.end)",
        "new NpyVolume(std::move(file), header, shape, text.end)",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/storage/element.cpp",
        "intensities above 32767 of an image of uint16 become negative",
        "      return convert<std::uint16_t, T>;",
        "      return convert<std::int16_t, T>;",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/platform/control_groups.cpp",
        "a container or job whose memory is limited by memory.high only counts as unlimited",
        'for (const char* limit : {"memory.max", "memory.high"}) {',
        'for (const char* limit : {"memory.max"}) {',
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/platform/posix/input_file.cpp",
        "a file that is written over in place within the same second, with the same size, passes for unchanged",
        "static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::int64_t>(time.tv_nsec)};",
        "static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000};",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/sampling/patch_sampler.cpp",
        "with an ignore label, forced foreground also takes 'everything annotated' for one of the classes",
        "const bool with_annotated = count(false) == 0;",
        "const bool with_annotated = options_.has_ignore || count(false) == 0;",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/random/stream.cpp",
        "training with seed 1 draws what validation draws with seed 0, for seed and role are mixed as one",
        "mix(mix(sample.seed) ^ ((std::uint64_t{sample.rank} << 32) | sample.role));",
        "mix(sample.seed ^ ((std::uint64_t{sample.rank} << 32) | sample.role));",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/sample/moves/permute.cpp",
        "a turn that exchanges X and Z gives wrong voxels where idle threads help with it",
        "out + begin * plane + j * row, plane, end - begin);",
        "out + j * row, plane, end - begin);",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/warp/elastic.cpp",
        "elastic deformations are rougher than elastic_deform_scale says, by the root of two",
        "    return std::exp(-2 * phase * phase);",
        "    return std::exp(-phase * phase);",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/warp/positions.cpp",
        "at the far end of a turned or scaled patch, voxels are mixed with the value of what is outside",
        "    high = std::clamp(std::floor(high) + 2.0, -1e9, 1e9);",
        "    high = std::clamp(std::floor(high) + 1.0, -1e9, 1e9);",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/warp/patch_warp.cpp",
        "labels of kept blocks are not mirrored with their image where noise lies between warp and mirror",
        "resampling_of(views.labels, flips_of(moves.labels), labels_out);",
        "resampling_of(views.labels, flips_of(moves.image), labels_out);",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/spatial/channel_misalignment.cpp",
        "ChannelMisalignmentTransform rotates with the probability of squeezing, not with p_rotation",
        "    const bool rotate = stream.bernoulli(p_rotation_);",
        "    const bool rotate = stream.bernoulli(p_squeeze_);",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/spatial/rot90.cpp",
        "Rot90Transform rounds num_axis_combinations down: the highest number of turns is never drawn",
        "const double combinations = std::nearbyint(combinations_.draw(",
        "const double combinations = std::floor(combinations_.draw(",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/intensity/gamma.cpp",
        "GammaTransform on the negated image with retain_stats turns the sign of the channel's mean",
        "    const double old_mean = static_cast<double>(sign) * before.mean();",
        "    const double old_mean = before.mean();",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/scalar.cpp",
        "BGContrast's upper half is drawn from the whole range: contrasts below 1 are too frequent",
        "      return stream.uniform(std::max(low_, 1.0), high_);",
        "      return stream.uniform(low_, high_);",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/statistics.cpp",
        "a gamma with retain_stats after a multiplicative brightness has a wrong standard deviation",
        "  moments.squares_ = squares_ * factor * factor;",
        "  moments.squares_ = squares_ * factor;",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/noise/sharpen.cpp",
        "SharpeningTransform takes the neighbours along X from planes that are sharpened already",
        "const float* front = flat ? nullptr : x > 0 ? previous : present;",
        "const float* front = flat ? nullptr : x > 0 ? out - plane : present;",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/local/local_transform.cpp",
        "LocalContrastTransform takes a wrong mean where its kernel does not fall to 0 inside the image",
        (
            "  return (product - static_cast<double>(voxels(shape_)) * static_cast<double>(minimum_)) /\n"
            "         static_cast<double>(divisor_);"
        ),
        "  return product / static_cast<double>(divisor_);",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/nnunet/remove_connected_components.cpp",
        "dont_do_if_covers_more_than_x_percent=0.15 is taken for 0.15 % and not for a share: hardly any is removed",
        "components.choose(p.component_u[i], static_cast<double>(voxels(shape)) * largest_share_);",
        "components.choose(p.component_u[i], static_cast<double>(voxels(shape)) * largest_share_ / 100);",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/nnunet/random_binary_operator.cpp",
        "with 64, 128, ... voxels along Z, dilation and erosion clear the last 64 of every row",
        "return shape[2] % kWord == 0 ? ~0ull : (1ull << (shape[2] % kWord)) - 1;",
        "return (1ull << (shape[2] % kWord)) - 1;",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/utils/deep_supervision_downsampling.cpp",
        "targets of deep supervision are one voxel too small where size times scale is to be rounded up",
        "std::nearbyint(static_cast<double>(shape[axis]) * factor)",
        "std::floor(static_cast<double>(shape[axis]) * factor)",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/pipeline/run.cpp",
        "statistics and describe() say that brightness and mirrors done on the way were never applied",
        (
            "      if (step.state == Plan::State::absorbed)\n"
            "        applied_[step.leaf].add(std::max<std::chrono::nanoseconds>(watch.read(),"
            " std::chrono::nanoseconds{1}));\n"
        ),
        "",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/engine/loader/batch_queue.cpp",
        "a training that waits has more and more batches made ahead, beyond its limit of prefetch",
        "        ahead_ = std::min(ahead_ + 1, most_ahead_);",
        "        ahead_ = ahead_ + 1;",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/engine/location_cache.cpp",
        "class locations that were dropped still count: location_bytes grows without end, and one case is kept",
        ("    memory_ -= oldest->second.locations->memory();\n"),
        "",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/resampling/image.cpp",
        "intensities are shifted where an image grows less along X than in its planes (order 1 and 3)",
        "    resize_planes(between, x.to, planes, 0.0f, &level.finish, threads, out);",
        "    resize_planes(between, x.to, planes, level.subtract, &level.finish, threads, out);",
        _PREDICTION,
    ),
    Mistake(
        f"{CORE}/inference/segmentation.cpp",
        "the last voxels of a row along Z get labels and probabilities of logits that were not computed",
        (
            "    const auto [first, last] = std::minmax(\n"
            "        {z.lower[count_of(begin)], z.upper[count_of(begin)], z.lower[count_of(end - 1)],"
            " z.upper[count_of(end - 1)]});"
        ),
        "    const std::int64_t first = z.lower[count_of(begin)], last = z.upper[count_of(end - 1)];",
        _PREDICTION,
    ),
    Mistake(
        "cpp/bindings/loader.cpp",
        "after a resume, slot and attempt of skipped cases are exchanged in state and reproduction line",
        "bad.push_back({name, file, reason, since, slot, attempt, stamp});",
        "bad.push_back({name, file, reason, since, attempt, slot, stamp});",
        "tests/loader tests/nnunet/test_checkpoint.py",
    ),
    Mistake(
        f"{CORE}/base/parallel.cpp",
        "an error in a loop on several threads (no memory) is lost, and an unfinished result is returned",
        ("  for (std::thread& helper : helpers) helper.join();\n  ranges.rethrow();\n"),
        ("  for (std::thread& helper : helpers) helper.join();\n"),
        _PREDICTION,
    ),
    Mistake(
        f"{CORE}/transforms/plugin_transform.cpp",
        "a plug-in behind the conversion to regions is given the old labels, with the regions' number of channels",
        "    const bool labelled = sample.has_segmentation() && sample.regions() == nullptr;",
        "    const bool labelled = sample.has_segmentation();",
        "tests/examples tests/transforms",
    ),
    Mistake(
        f"{PACKAGE}/loading/loader.py",
        "a skipped case is reported in the log after every batch and not once",
        ("                self._reported.add(bad.name)\n"),
        "",
        "tests/loader",
    ),
    Mistake(
        f"{PACKAGE}/transforms/spatial/spatial.py",
        "replayed elastic deformations of batchgeneratorsv2 have X and Z exchanged, or are refused",
        "np.ascontiguousarray(np.moveaxis(np.asarray(offsets), -1, 0), np.float32)",
        "np.ascontiguousarray(np.asarray(offsets).T, np.float32)",
        "tests/transforms",
    ),
    Mistake(
        f"{PACKAGE}/nnunet/validation_cases.py",
        "unrestricted_pickles does not hold for the validation's check: with 'skip', such cases are left out",
        "        read_properties(properties, unrestricted)",
        "        read_properties(properties)",
        "tests/nnunet/test_validation_cases.py",
    ),
    Mistake(
        f"{PACKAGE}/prediction/preprocessing/steps.py",
        "images of plans with transposed axes are resized by the spacings of other axes",
        'spacing = [float(properties["spacing"][axis]) for axis in forward]',
        'spacing = [float(size) for size in properties["spacing"]]',
        _PREDICTION,
    ),
    Mistake(
        f"{PACKAGE}/prediction/export/segmentation.py",
        "probabilities have wrong axes, or are refused, where plans turn all three axes, as for thick Z slices",
        "probabilities.transpose(0, *(int(a) + 1 for a in np.argsort(backward)))",
        "probabilities.transpose(0, *(int(a) + 1 for a in backward))",
        _PREDICTION,
    ),
    Mistake(
        f"{PACKAGE}/doctor/dataset.py",
        "doctor does not notice that predictions of a cascade's previous stage are missing for some cases",
        "sorted(wanted - files.case_names(folder)) for folder in folders}",
        "sorted(files.case_names(folder) - wanted) for folder in folders}",
        "tests/doctor",
    ),
    Mistake(
        f"{PACKAGE}/prediction/session/predictor.py",
        "predict -chk is checked but not used: it predicts with checkpoint_final.pth",
        "predictor.initialize_from_trained_model_folder(options.model, options.folds, options.checkpoint)",
        "predictor.initialize_from_trained_model_folder(options.model, options.folds)",
        "tests/nnunet/test_cli_arguments.py tests/prediction",
    ),
    Mistake(
        f"{PACKAGE}/settings.py",
        "install(leave_to_nnunet='validation') is refused, for its letters are taken for names",
        "left = (self.leave_to_nnunet,) if isinstance(self.leave_to_nnunet, str) else tuple(self.leave_to_nnunet)",
        "left = tuple(self.leave_to_nnunet)",
        "tests/package tests/nnunet/test_settings_reach.py",
    ),
    Mistake(
        f"{PACKAGE}/statistics/reporter.py",
        "all ranks of a training write their metrics over each other in one file",
        "stats=own(self.stats), metrics=own(self.metrics), live=",
        "stats=own(self.stats), live=",
        "tests/loader tests/nnunet",
    ),
    Mistake(
        f"{PACKAGE}/demo/dataset.py",
        "margins around the demo's brains are so many voxels, not so many millimetres",
        "np.round(rng.uniform(*spec.margin_mm, (3, 2)) / brain.resolution).astype(int)",
        "np.round(rng.uniform(*spec.margin_mm, (3, 2))).astype(int)",
        "tests/demo",
    ),
    Mistake(
        f"{PACKAGE}/bench/measure.py",
        "processor time of child processes that have ended is left out of the figures",
        "seconds += sum(process.cpu_times()[:4])",
        "seconds += sum(process.cpu_times()[:2])",
        "tests/bench",
    ),
    Mistake(
        f"{PACKAGE}/preview/views.py",
        "behind a mirror, preview shows the slice beside the one that it showed before, or fails at slice 0",
        "at[axis] = view.image.shape[1 + axis] - 1 - at[axis]",
        "at[axis] = view.image.shape[1 + axis] - at[axis]",
        "tests/preview",
    ),
]
