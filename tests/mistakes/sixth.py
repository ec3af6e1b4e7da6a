"""A sixth list: forty mistakes, again by somebody who had not seen the tests."""

from __future__ import annotations

from .mistake import CORE, PACKAGE, Mistake

_SAMPLES = "tests/digests tests/transforms tests/loader tests/faults tests/package"
_PREDICTION = "tests/inference tests/resampling tests/prediction"

SIXTH = [
    Mistake(
        f"{CORE}/storage/stored_volume.cpp",
        (
            "After a file server gave an error such as ESTALE, the old handle is asked again and again, and "
            "reading fails although the server is back"
        ),
        "    suspect_ = suspect_ || error.passing() == Passing::yes;\n",
        "",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/storage/cache/open_volumes.cpp",
        (
            "With more files than a thread may keep open, the image that a sample is being read from may be "
            "closed for its segmentation: wrong voxels or a crash"
        ),
        ("    entries_.splice(entries_.begin(), entries_, found->second);\n    return *entries_.front().volume;\n"),
        "    return *found->second->volume;\n",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/storage/cache/volume_cache.cpp",
        "With kept blocks, check_finite overlooks NaN and infinity in every channel of an image but the first",
        ("    for (std::int64_t c = 0; c < channels_; ++c)\n      for (std::int64_t x = 0; x < size[0]; ++x)"),
        ("    for (std::int64_t c = 0; c < 1; ++c)\n      for (std::int64_t x = 0; x < size[0]; ++x)"),
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/platform/control_groups.cpp",
        (
            "Limits of memory and cores that stand in a control group above the process's own (a job above its "
            "step) are not seen"
        ),
        (
            "        if (folder == mount || !folder.has_relative_path() || folder == folder.parent_path()) break;\n"
            "        folder = folder.parent_path();\n"
        ),
        "        break;\n",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/platform/buffer.h",
        (
            "What a transform in Python keeps of an image that it was shown, to mix it into another sample, is "
            "overwritten by the next sample"
        ),
        "    if (bytes > bytes_ || (bytes > 0 && leased())) {",
        "    if (bytes > bytes_) {",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/base/vote.h",
        (
            "Where labels tie and the nearest voxel's is none of them, a resized segmentation gets the highest "
            "of them and not the lowest"
        ),
        "(tiebreak == Tiebreak::highest ? found[at] > winner : found[at] < winner);",
        "(tiebreak == Tiebreak::lowest ? found[at] < winner : found[at] > winner);",
        _PREDICTION,
    ),
    Mistake(
        f"{CORE}/sampling/patch_sampler.cpp",
        ("A forced patch around a voxel near the far border is moved into the image, where nnU-Net's reaches beyond it"),
        "      box.lower[axis] = std::max(lowest[axis], centre[axis] - options_.patch_size[axis] / 2);",
        ("      box.lower[axis] = std::clamp(centre[axis] - options_.patch_size[axis] / 2, lowest[axis], highest[axis]);"),
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/sampling/patch_sampler.cpp",
        (
            "Forced foreground also chooses classes of which a case has no voxel, and then takes a voxel of "
            "another class or of none"
        ),
        "        return c.count > 0 && (with_annotated || !c.is_annotated);",
        "        return with_annotated || !c.is_annotated;",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/random/stream.cpp",
        "Noise repeats itself every 256 voxels",
        ("    done += count;\n    position += count;\n"),
        "    done += count;\n",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/engine/loader/batch_queue.cpp",
        (
            "Batches that were made ahead keep their memory after load_state_dict(), so that with a small budget "
            "the next batch ends in a MemoryBudgetError"
        ),
        ("void BatchQueue::Job::drop() {\n  memory.reset();\n  error = nullptr;\n"),
        ("void BatchQueue::Job::drop() {\n  error = nullptr;\n"),
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/engine/batch_ring.cpp",
        ("Pinned memory of a batch is written again as soon as its tensors are gone, while its copy to the GPU may still run"),
        "    if (!closed_ && provider_->rewritable() && free_.size() < free_.capacity()) {",
        "    if (!closed_ && free_.size() < free_.capacity()) {",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/engine/loader/batch_queue_reports.cpp",
        "dump() and reports of stalls exchange how long a thread has been in its stage and how long in its sample",
        "in_seconds(now - thread.stage_since), in_seconds(now - thread.sample_since)});",
        "in_seconds(now - thread.sample_since), in_seconds(now - thread.stage_since)});",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/pipeline/passes.cpp",
        "A brightness is lost for those channels that a contrast, gamma or inversion behind it has not chosen",
        (
            "      hand_over(step, [&](const Plan::Arithmetic& left) {\n"
            "        return !traits.takes_arithmetic || std::find(channels.begin(), channels.end(), "
            "left.channel) != channels.end();\n"
            "      });\n"
        ),
        "      hand_over(step, [](const Plan::Arithmetic&) { return true; });\n",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/pipeline/run.cpp",
        (
            "Behind a transform in Python that changes channels or shape, brightness and moves are still done as "
            "they were drawn for the sample before it"
        ),
        ("      draw_again(plan, i + 1, now);\n      optimise(plan, i + 1);\n"),
        "      draw_again(plan, i + 1, now);\n",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/sample/sample.cpp",
        (
            "With deep supervision and a transform in Python, native transforms of labels behind it run in "
            "Python from each thread's second sample on, and draw other numbers"
        ),
        ("  targets_.clear();\n  target_is_list_ = false;\n"),
        "  targets_.clear();\n",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/sample/moves/permute.cpp",
        "Where X and Y change places and Z is mirrored in one move, rows on the diagonal are not mirrored",
        "    if (source == first && !reversed) continue;",
        "    if (source == first) continue;",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/warp/patch_warp.cpp",
        ("Labels beyond the image follow padding_mode_image and not border_mode_seg where image and labels are both in memory"),
        "  if (image.border != labels.border || image_input.shape() != label_input.shape()) return false;",
        "  if (image_input.shape() != label_input.shape()) return false;",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/spatial/low_resolution.cpp",
        ("SimulateLowResolutionTransform leaves all further channels alone once one has a scale that rounds to the full size"),
        "      if (low == shape) continue;",
        "      if (low == shape) break;",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/intensity/random_clip.cpp",
        (
            "CutOffOutliersTransform with p_retain_std makes the standard deviation smaller still, instead of "
            "bringing back the old one"
        ),
        "      scale(values.data(), count, static_cast<float>(after.mean()), deviation, old_deviation);",
        "      scale(values.data(), count, static_cast<float>(after.mean()), old_deviation, deviation);",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/intensity/brightness_additive.cpp",
        (
            "BrightnessAdditiveTransform adds the number of another channel than the chosen one; a replay of "
            "batchgeneratorsv2's parameters gives another image"
        ),
        "static_cast<float>(p.shift[static_cast<std::size_t>(p.channels[number])])};",
        "static_cast<float>(p.shift[number])};",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/noise/gaussian_blur.cpp",
        ("GaussianBlurTransform blurs all chosen channels by the sigmas of the first one, also without synchronize_channels"),
        "build_kernel(p.sigmas[i * dims + axis - (3 - dims)], p.kernels[axis]);",
        "build_kernel(p.sigmas[axis - (3 - dims)], p.kernels[axis]);",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/resampling/axis.cpp",
        (
            "Images resized with order 1 have wrong intensities at their borders: values are extrapolated and "
            "not those of the outermost voxel"
        ),
        "      const double t = clamped(at, from) - lower;",
        "      const double t = at - lower;",
        _PREDICTION,
    ),
    Mistake(
        f"{CORE}/inference/segmentation.cpp",
        "Saved probabilities of classes do not sum up to 1 from the 17th row of an image on",
        "    std::fill(sums, sums + kTileRows * to_[2], 0.0f);\n",
        "",
        _PREDICTION,
    ),
    Mistake(
        "cpp/bindings/loader.cpp",
        "A batch that takes long is reported every 50 ms and not once",
        "    patience_ = on_stall_(waited).cast<std::optional<double>>();",
        "    on_stall_(waited);",
        _SAMPLES,
    ),
    Mistake(
        "cpp/bindings/pictures.cpp",
        "Outlines of labels in preview's pictures have rows and columns exchanged",
        (
            "      at(i, 0) = outline[static_cast<std::size_t>(i)].column;\n"
            "      at(i, 1) = outline[static_cast<std::size_t>(i)].row;\n"
        ),
        (
            "      at(i, 0) = outline[static_cast<std::size_t>(i)].row;\n"
            "      at(i, 1) = outline[static_cast<std::size_t>(i)].column;\n"
        ),
        "tests/preview",
    ),
    Mistake(
        f"{PACKAGE}/loading/state.py",
        (
            "After a resume, file and reason of every skipped case are forgotten: all of them were 'found bad "
            "before the training was continued'"
        ),
        "**{**unknown, **details.get(name, {})})",
        "**{**details.get(name, {}), **unknown})",
        "tests/loader tests/nnunet",
    ),
    Mistake(
        f"{PACKAGE}/loading/statistics.py",
        "memory_used counts the batches that are ready only, not those being made or held by the training",
        "memory_used=s.batches_in_use * s.batch_bytes",
        "memory_used=s.ready_batches * s.batch_bytes",
        "tests/loader tests/nnunet",
    ),
    Mistake(
        f"{PACKAGE}/nnunet/augmenter.py",
        "abort_after of install() and of the commands has no effect: a training waits for a stuck batch for ever",
        ("            stall_after=settings.stall_after,\n            abort_after=settings.abort_after,\n"),
        "            stall_after=settings.stall_after,\n",
        "tests/nnunet tests/loader",
    ),
    Mistake(
        f"{PACKAGE}/nnunet/trainer.py",
        (
            "A continued training names a seed in its log, and tells other ranks and further loaders one, that "
            "was drawn anew and is not the checkpoint's"
        ),
        "        run.seed = augmenter.loader.seed\n",
        "",
        "tests/nnunet",
    ),
    Mistake(
        f"{PACKAGE}/nnunet/trainer.py",
        "train --npz writes no probabilities in the final validation",
        '        save_probabilities = bool(args[0] if args else kwargs.get("save_probabilities", False))',
        '        save_probabilities = bool(kwargs.get("save_probabilities", False))',
        "tests/nnunet",
    ),
    Mistake(
        f"{PACKAGE}/prediction/images/fingerprint.py",
        "An image whose spacing or size is far from the training's along one axis only causes no warning",
        "    if any(value * far < low or value > far * high for",
        "    if all(value * far < low or value > far * high for",
        "tests/prediction",
    ),
    Mistake(
        f"{PACKAGE}/prediction/sliding_window/passing.py",
        (
            "Logits behind the first windows along the axis are divided by too large weights, so that saved "
            "probabilities are too even"
        ),
        (
            "            waiting.put(count, last=following is None and first + count == start + complete)\n"
            "        weights.clear(start, complete)\n"
        ),
        "            waiting.put(count, last=following is None and first + count == start + complete)\n",
        "tests/inference tests/prediction",
    ),
    Mistake(
        f"{PACKAGE}/prediction/replacements/install.py",
        (
            "With on_bad_case='skip', cases that fail while a program predicts through nnUNetPredictor are left "
            "out without a word"
        ),
        ("    for error in session.failures:\n        leave_out(error)\n    return results"),
        "    return results",
        "tests/prediction tests/nnunet",
    ),
    Mistake(
        f"{PACKAGE}/transforms/draws.py",
        (
            "A transform in Python leaves the generator of `random` seeded with its sample's number, and so "
            "changes what the rest of the process draws"
        ),
        "            _process_python.setstate(python)\n",
        "",
        "tests/transforms tests/loader",
    ),
    Mistake(
        f"{PACKAGE}/doctor/files.py",
        (
            "doctor tells too few voxels of an unknown label: those of the last part of a segmentation that is "
            "read in several parts"
        ),
        "                unknown[int(value)] = unknown.get(int(value), 0) + int(count)",
        "                unknown[int(value)] = int(count)",
        "tests/doctor tests/files",
    ),
    Mistake(
        f"{PACKAGE}/doctor/plans.py",
        ("doctor gives a configuration such as 3d_lowres the settings of the one that it inherits from, in place of its own"),
        "    for link in reversed(chain):",
        "    for link in chain:",
        "tests/doctor",
    ),
    Mistake(
        f"{PACKAGE}/cli/predict.py",
        (
            "With -num_parts and --continue_prediction the commands share out what is left when each of them "
            "starts: some cases are predicted twice, others by none"
        ),
        (
            "    cases = with_targets(found, ending, args.o, previous)[args.part_id :: args.num_parts]\n"
            "    if args.continue_prediction:\n"
            "        cases = pending(cases, ending, args.save_probabilities)\n"
        ),
        (
            "    cases = with_targets(found, ending, args.o, previous)\n"
            "    if args.continue_prediction:\n"
            "        cases = pending(cases, ending, args.save_probabilities)\n"
            "    cases = cases[args.part_id :: args.num_parts]\n"
        ),
        "tests/prediction tests/nnunet",
    ),
    Mistake(
        f"{PACKAGE}/statistics/text.py",
        ("The line of statistics after an epoch tells the waiting time of all epochs beside the seconds of the last one"),
        "    waited = now.waited - (before.waited if before else 0.0)",
        "    waited = now.waited",
        "tests/loader tests/nnunet",
    ),
    Mistake(
        f"{PACKAGE}/settings.py",
        "Sizes from 1 TiB on, such as the free space of a disk, are told 1024 times too large",
        '    return f"{count / 1024:.1f} TiB"',
        '    return f"{count:.1f} TiB"',
        "tests/package tests/loader",
    ),
    Mistake(
        f"{PACKAGE}/preview/views.py",
        "preview --draws N shows N times the same draw under different steps",
        "            identity = self._loader.sample_id(step + draw, slot)",
        "            identity = self._loader.sample_id(step, slot)",
        "tests/preview",
    ),
    Mistake(
        f"{CORE}/engine/loader/bad_cases.cpp",
        "the error of too many skipped cases names the sample of another rank",
        "const SampleId id{options_.seed, options_.rank, options_.role, last.step, last.slot, last.attempt};",
        "const SampleId id = options_.sample_id(last.step, last.slot, last.attempt);",
        "tests/loader",
    ),
    Mistake(
        f"{PACKAGE}/loading/core_loader.py",
        "ranks that share batches draw other random numbers than one process does",
        "return self.rank if self._share is None else 0",
        "return self.rank",
        "tests/loader",
    ),
    Mistake(
        f"{PACKAGE}/loading/state.py",
        "a state of another global batch size goes on with other batches",
        "    if needed != global_batch_size:",
        "    if needed < global_batch_size:",
        "tests/loader",
    ),
    Mistake(
        f"{CORE}/engine/loader/sample_maker.cpp",
        "a regression target with NaN is no bad case, although check_finite is asked for",
        "regression), {}, window,\n                              options_.check_finite, activity);",
        "regression), {}, window,\n                              false, activity);",
        "tests/loader",
    ),
    Mistake(
        f"{PACKAGE}/loading/storage/cache.py",
        "a copy that a thread is about to open is removed for another one",
        "if used <= limit or accessed > now - GRACE:",
        "if used <= limit:",
        "tests/loader",
    ),
    Mistake(
        f"{PACKAGE}/loading/storage/cache.py",
        "the copies that are made first are removed first, however often they are used",
        "os.utime(file, ns=(time.time_ns(), status.st_mtime_ns))",
        "os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))",
        "tests/loader",
    ),
    Mistake(
        f"{PACKAGE}/loading/storage/cache.py",
        "a file that changed at its source and kept its size is read from the old copy",
        'f"{path.stem}.{stamp.digest}{path.suffix}"',
        'f"{path.stem}.{stamp.size:012d}{path.suffix}"',
        "tests/loader",
    ),
    Mistake(
        f"{PACKAGE}/loading/storage/copies.py",
        "only the cases of one batch are copied ahead",
        "for number in core.cases_of(step):",
        "for number in core.cases_of(first):",
        "tests/loader",
    ),
    Mistake(
        f"{PACKAGE}/loading/storage/ranges.py",
        "parts of a file that was replaced by another of its size are mixed with those of the file before",
        "if told and known in stamp.mark and known + told not in stamp.mark:",
        "if told and known in stamp.mark and not stamp.size:",
        "tests/loader",
    ),
    Mistake(
        f"{PACKAGE}/loading/storage/cache.py",
        "parts of files take more than the size of the cache",
        "if not self._admitted(None, count, again=again):",
        "if count < 0:",
        "tests/loader",
    ),
]
