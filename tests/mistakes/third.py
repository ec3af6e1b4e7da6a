"""A third list: forty mistakes, again by somebody who had not seen the tests."""

from __future__ import annotations

from .mistake import CORE, PACKAGE, Mistake

_SAMPLES = "tests/digests tests/transforms tests/loader tests/faults tests/package"
_PREDICTION = "tests/inference tests/resampling tests/prediction"

THIRD = [
    Mistake(
        f"{CORE}/storage/npz_volume.cpp",
        "the two sizes of a large member of an .npz are exchanged",
        "for (std::uint64_t* number : {&member.size, &member.compressed, &header}) {",
        "for (std::uint64_t* number : {&member.compressed, &member.size, &header}) {",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/storage/open_volumes.cpp",
        "what was read of files that were closed is not counted any more",
        ("  const auto entry = found->second;\n  bytes_read_of_closed_ += entry->volume->bytes_read();\n"),
        ("  const auto entry = found->second;\n"),
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/storage/volume_cache.cpp",
        "whoever wants a block again whose reading failed once waits for ever",
        ("        } catch (...) {\n          settle(State::missing);\n          throw;\n        }"),
        ("        } catch (...) {\n          throw;\n        }"),
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/platform/control_groups.cpp",
        "page cache of the groups below a control group of version 1 counts as used",
        'number_of(folder / "memory.stat", "total_inactive_file"));',
        'number_of(folder / "memory.stat", "inactive_file"));',
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/sampling/patch_sampler.cpp",
        "where the share of foreground falls on half a sample, it is rounded up",
        "        std::nearbyint(static_cast<double>(options_.batch_size) * (1.0 - options_.oversample_foreground));",
        "        std::round(static_cast<double>(options_.batch_size) * (1.0 - options_.oversample_foreground));",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/random/stream.cpp",
        "a shuffle leaves nothing in its place",
        "std::swap(values[i - 1], values[below(i)]);",
        "std::swap(values[i - 1], values[below(i - 1)]);",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/sample/sample.cpp",
        "arithmetic that is due before planes are folded reaches the first planes only",
        ("void Sample::fold_planes() {\n  settle();\n  planes_ = image_.shape[0];"),
        ("void Sample::fold_planes() {\n  planes_ = image_.shape[0];"),
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/warp/label_vote.cpp",
        "ties between labels: 'lowest' gives the higher label, and 'highest' the lower",
        "pick(highest, higher, smaller));",
        "pick(highest, smaller, higher));",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/warp/grid.cpp",
        "center_deformation=False is ignored",
        "      if (displacements != nullptr && grid.centred) offset -= entry * displacements->mean[of];",
        "      if (displacements != nullptr) offset -= entry * displacements->mean[of];",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/spatial/rot90.cpp",
        "a rotation's two axes may be the same",
        "b = allowed_[second + (second >= first ? 1 : 0)];",
        "b = allowed_[second + (second > first ? 1 : 0)];",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/intensity/inversion.cpp",
        "an inversion comes before the arithmetic that was due before it",
        (
            "      sample.owe(channel, due);\n"
            "      sample.owe(channel, {.factor = -1.0f, .shift = 2.0f * static_cast<float>(centre)});\n"
        ),
        (
            "      sample.owe(channel, {.factor = -1.0f, .shift = 2.0f * static_cast<float>(centre)});\n"
            "      sample.owe(channel, due);\n"
        ),
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/noise/rician.cpp",
        "both parts of Rician noise are the same numbers",
        "field.add_normal({imaginary, block.size()}, static_cast<std::uint64_t>(count + begin), sigma);",
        "field.add_normal({imaginary, block.size()}, static_cast<std::uint64_t>(begin), sigma);",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/local/brightness_gradient.cpp",
        "a gradient's mean goes on from what the thread summed up before",
        "        p.sums.assign(static_cast<std::size_t>(shape[0]), 0.0);  // of each plane",
        "        p.sums.resize(static_cast<std::size_t>(shape[0]));  // of each plane",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/nnunet/random_binary_operator.cpp",
        "the channels of binary operators are never shuffled",
        ("    std::vector<std::int64_t> order = channels_;\n    stream.shuffle(order);\n"),
        ("    std::vector<std::int64_t> order = channels_;\n"),
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/transforms/utils/deep_supervision_downsampling.cpp",
        "a deep-supervision target that keeps the size of one axis is not made smaller",
        "return std::all_of(scale.begin(), scale.end(), [](double factor) { return factor == 1.0; });",
        "return std::any_of(scale.begin(), scale.end(), [](double factor) { return factor == 1.0; });",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/pipeline/pipeline.cpp",
        "flips go before transforms of the image that depend on the place",
        "    image = image && indifferent.image;",
        "    image = image && indifferent.labels;",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/engine/loader/batch_queue.cpp",
        "after one batch with an error, the errors of later batches in the same place are lost",
        ("      job.memory = std::move(memory);\n      job.error_slot = -1;\n"),
        ("      job.memory = std::move(memory);\n"),
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/engine/loader/bad_cases.cpp",
        "too many bad cases are told one batch too late",
        "    if (bad.step <= step) skipped.push_back(&bad);",
        "    if (bad.step < step) skipped.push_back(&bad);",
        _SAMPLES,
    ),
    Mistake(
        f"{CORE}/resampling/image.cpp",
        "order_z is ignored but for 0",
        "    const LineAxis x = line_axis(from[0], to[0], options.order_z);",
        "    const LineAxis x = line_axis(from[0], to[0], options.order);",
        _PREDICTION,
    ),
    Mistake(
        f"{CORE}/inference/segmentation.cpp",
        "with regions, probabilities outside of the cropped part are those of the first region",
        "const float value = channel == 0 && options.regions.empty() ? 1.0f : 0.0f;",
        "const float value = channel == 0 ? 1.0f : 0.0f;",
        _PREDICTION,
    ),
    Mistake(
        "cpp/bindings/errors.cpp",
        "an error of a transform has lost its cause",
        'return with_cause(exception_type("TransformError")(e.what(), "transform"_a = e.transform()), e.cause());',
        'return exception_type("TransformError")(e.what(), "transform"_a = e.transform());',
        "tests/transforms tests/loader tests/faults",
    ),
    Mistake(
        "cpp/bindings/inference.cpp",
        "a segmentation whose highest label is 255 is uint8",
        "return (regions.empty() ? channels - 1 : *std::max_element(regions.begin(), regions.end())) < 255;",
        "return (regions.empty() ? channels - 1 : *std::max_element(regions.begin(), regions.end())) <= 255;",
        _PREDICTION,
    ),
    Mistake(
        f"{PACKAGE}/loading/loader.py",
        "the state of a loader has lost the stamps of bad cases",
        'return {"file": bad.file, "reason": bad.reason, "slot": bad.slot, "attempt": bad.attempt, "stamp": bad.stamp}',
        'return {"file": bad.file, "reason": bad.reason, "slot": bad.slot, "attempt": bad.attempt}',
        "tests/loader tests/nnunet/test_checkpoint.py",
    ),
    Mistake(
        f"{PACKAGE}/loading/patience.py",
        "an error that passes is not waited for where another was raised while it was handled",
        "        following = following.__cause__ or following.__context__",
        "        following = following.__cause__",
        "tests/loader tests/faults",
    ),
    Mistake(
        f"{PACKAGE}/loading/sample_lines.py",
        "the line that tells how to make a sample again lacks the number of ranks",
        ("    named = _identity(seed, rank, role, step, slot, attempt, origin.ranks)\n    options ="),
        ("    named = _identity(seed, rank, role, step, slot, attempt)\n    options ="),
        "tests/loader tests/preview tests/nnunet",
    ),
    Mistake(
        f"{PACKAGE}/transforms/draws.py",
        "all of a sample's generators of default_rng() give the same numbers",
        ("        if seed is None:\n            self._generators += 1\n"),
        ("        if seed is None:\n"),
        "tests/transforms tests/loader",
    ),
    Mistake(
        f"{PACKAGE}/transforms/origins.py",
        "settings of native transforms are not in the digest of a pipeline",
        "_plain(one, 0 if native else _DEEP)",
        "_plain(one, _DEEP if native else 0)",
        "tests/transforms tests/loader tests/nnunet/test_checkpoint.py",
    ),
    Mistake(
        f"{PACKAGE}/transforms/spatial/spatial.py",
        "the segmentation is padded with the image's value",
        '"padding_value_seg": float(t.padding_value_seg),',
        '"padding_value_seg": float(t.padding_value_image),',
        "tests/transforms",
    ),
    Mistake(
        f"{PACKAGE}/prediction/outputs.py",
        "the segmentation is put in its place before its probabilities",
        "for file in sorted(files, key=lambda file: file.name.endswith(last)):",
        "for file in sorted(files, key=lambda file: not file.name.endswith(last)):",
        "tests/prediction tests/faults",
    ),
    Mistake(
        f"{PACKAGE}/prediction/pipeline.py",
        "a bad case of a prediction keeps its share of the memory budget",
        ("            self._no_more.set()\n        self._budget.release(item.index)\n"),
        ("            self._no_more.set()\n"),
        "tests/prediction tests/faults",
    ),
    Mistake(
        f"{PACKAGE}/prediction/preprocess.py",
        "the caller's own array is normalised",
        ("        image = np.array(image, np.float32)\n"),
        ("        image = np.asarray(image, np.float32)\n"),
        "tests/prediction tests/faults",
    ),
    Mistake(
        f"{PACKAGE}/prediction/cropping.py",
        "zeros that are open to the far border only count as a hole",
        "        for side in (0, -1):",
        "        for side in (0,):",
        "tests/prediction tests/faults",
    ),
    Mistake(
        f"{PACKAGE}/statistics/text.py",
        "rates go on from the loader before",
        (
            "    if before is not None and before.batches > now.batches:\n"
            "        before = None  # of a loader that this one follows\n"
        ),
        "",
        "tests/loader tests/nnunet",
    ),
    Mistake(
        f"{PACKAGE}/nnunet/checkpoint.py",
        "another number of ranks forgets the bad cases that other ranks had found",
        "                if step < excluded.get(case, step + 1):",
        "                if step < excluded.get(case, step):",
        "tests/nnunet",
    ),
    Mistake(
        f"{PACKAGE}/nnunet/runs.py",
        "a trainer's second training has loaders of other roles",
        "        self.made, self.started, self.budget = 0, False, None",
        "        self.started, self.budget = False, None",
        "tests/nnunet",
    ),
    Mistake(
        f"{PACKAGE}/doctor/files.py",
        "the place of the first NaN is counted from its slab",
        ("                first[1] += lower\n"),
        "",
        "tests/doctor",
    ),
    Mistake(
        f"{PACKAGE}/cli/loader_options.py",
        "a relative path of statistics stays relative",
        "words.append(str(one.absolute() if isinstance(one, Path) else one))",
        "words.append(str(one))",
        "tests/package tests/nnunet/test_run.py",
    ),
    Mistake(
        f"{PACKAGE}/system.py",
        "LSF's hosts with a domain are not found",
        '    slots = {name.partition(".")[0]: int(count) for name, count in pairs',
        "    slots = {name: int(count) for name, count in pairs",
        "tests/package",
    ),
    Mistake(
        f"{PACKAGE}/preview/views.py",
        "preview shows a sample's first attempt",
        "image=patch.image, segmentation=patch.segmentation, **self._loader.sample_id(step, slot, attempt)",
        "image=patch.image, segmentation=patch.segmentation, **self._loader.sample_id(step, slot)",
        "tests/preview",
    ),
    Mistake(
        f"{PACKAGE}/demo/dataset.py",
        "neighbouring seeds of the demo have the same brains",
        "_make_case(np.random.default_rng([seed, index]), brain, spec)",
        "_make_case(np.random.default_rng(seed + index), brain, spec)",
        "tests/demo",
    ),
]
