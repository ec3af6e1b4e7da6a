from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_FilePlace = tuple[Path, int, int, int, Callable[[list[tuple[int, int]]], None] | None]

__version__: str
open_files_memory: int

def available_cores() -> int: ...
def open_file_limit() -> int: ...
def memory() -> Memory: ...
def simd_target() -> str: ...
def simd_targets() -> list[str]: ...
def resident_memory() -> int: ...
def python_calls() -> int: ...
def native_transforms() -> list[str]: ...

class MemoryFile:
    def __init__(self, name: str, array: npt.NDArray[Any]) -> None: ...
    @property
    def path(self) -> str: ...

def find_class_locations(
    file: Path,
    member: str = "seg",
    *,
    classes: Sequence[Sequence[int]] | None = None,
    ignored: int | None = None,
) -> list[tuple[list[int], bool, npt.NDArray[np.int64]]]: ...
def open_volume(file: Path | _FilePlace, member: str = "data") -> Volume: ...
def nonzero_box(image: npt.NDArray[np.float32], *, threads: int) -> tuple[list[int], list[int]]: ...
def nonzero_mask(image: npt.NDArray[np.float32], *, threads: int) -> npt.NDArray[np.uint8] | None: ...
def fill_holes(mask: npt.NDArray[np.uint8]) -> None: ...
def normalize_z_score(image: npt.NDArray[np.float32], mask: npt.NDArray[np.uint8] | None, *, threads: int) -> None: ...
def normalize_ct(
    image: npt.NDArray[np.float32], *, lower: float, upper: float, mean: float, deviation: float, threads: int
) -> None: ...
def normalize_rescale(image: npt.NDArray[np.float32], *, threads: int) -> None: ...
def normalize_rgb(image: npt.NDArray[np.float32], *, threads: int) -> bool: ...
def sample_locations(
    labels: npt.NDArray[np.int16],
    classes: Sequence[Sequence[int]],
    *,
    seed: int = 1234,
    least: int = 10000,
    least_coverage: float = 0.01,
) -> list[npt.NDArray[np.int64]]: ...
def draw_foreground(
    image: npt.NDArray[np.float32], labels: npt.NDArray[np.float32], *, samples: int, seed: int = 1234
) -> list[npt.NDArray[np.float32] | npt.NDArray[np.int16]]: ...
def moments(values: Sequence[npt.NDArray[Any]]) -> tuple[float, float, float, float]: ...
def order_statistics(values: Sequence[npt.NDArray[Any]], ranks: Sequence[int], *, threads: int) -> list[float]: ...
def pack_b2nd(
    file: str,
    array: npt.NDArray[Any],
    *,
    chunks: Sequence[int],
    blocks: Sequence[int],
    shuffle: bool | None = None,
    codec: int = 2,
    level: int = 5,
    threads: int,
) -> PackedBytes: ...
def resample(
    array: npt.NDArray[Any],
    new_shape: Sequence[int],
    *,
    order: int,
    is_seg: bool,
    axis: int,
    order_z: int,
    threads: int,
) -> npt.NDArray[Any]: ...
def logits_to_segmentation(
    logits: npt.NDArray[Any],
    new_shape: Sequence[int],
    *,
    axis: int,
    regions: Sequence[int],
    offset: Sequence[int],
    image_shape: Sequence[int],
    probabilities: npt.NDArray[np.float32] | None,
    threads: int,
) -> npt.NDArray[Any]: ...
def count_pairs(reference: npt.NDArray[Any], prediction: npt.NDArray[Any], labels: Sequence[int]) -> npt.NDArray[np.int64]: ...
def keep_best(
    sums: npt.NDArray[np.float32], models: int, label: int, best: npt.NDArray[np.float32], labels: npt.NDArray[np.uint16]
) -> None: ...
def keep_above_half(sums: npt.NDArray[np.float32], models: int, label: int, labels: npt.NDArray[np.uint16]) -> None: ...

class SegmentationStream:
    def __init__(
        self,
        *,
        channels: int,
        shape: Sequence[int],
        along: int,
        new_shape: Sequence[int],
        axis: int,
        regions: Sequence[int],
        offset: Sequence[int],
        image_shape: Sequence[int],
        probabilities: npt.NDArray[np.float32] | None,
        threads: int,
    ) -> None: ...
    def add(self, logits: npt.NDArray[Any], first: int) -> int: ...
    @property
    def complete(self) -> bool: ...
    @property
    def segmentation(self) -> npt.NDArray[Any]: ...

class Memory:
    @property
    def limit(self) -> int: ...
    @property
    def available(self) -> int: ...

class PackedBytes:
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

class Volume:
    @property
    def file(self) -> str: ...
    @property
    def shape(self) -> tuple[int, int, int, int]: ...
    @property
    def tiling(self) -> tuple[list[int], list[int]] | None: ...
    def read_image(self, lower: Sequence[int], upper: Sequence[int], outside: float = 0.0) -> npt.NDArray[np.float32]: ...
    def read_segmentation(self, lower: Sequence[int], upper: Sequence[int], outside: int = -1) -> npt.NDArray[np.int16]: ...

class Scalar:
    @staticmethod
    def constant(value: float) -> Scalar: ...
    @staticmethod
    def range(low: float, high: float) -> Scalar: ...
    @staticmethod
    def contrast(low: float, high: float) -> Scalar: ...
    @staticmethod
    def callable(function: Callable[..., float]) -> Scalar: ...

class SampleId:
    def __init__(
        self, *, seed: int = 0, rank: int = 0, role: int = 0, step: int = 0, slot: int = 0, attempt: int = 0
    ) -> None: ...

class Pipeline:
    def __init__(self, tree: tuple[Any, ...]) -> None: ...
    def run(
        self,
        image: npt.NDArray[np.float32],
        segmentation: npt.NDArray[np.int16] | None,
        id: SampleId,
        trace: list[tuple[int, dict[str, Any]]] | None = None,
        regression_target: npt.NDArray[np.float32] | None = None,
    ) -> tuple[
        npt.NDArray[np.float32],
        list[npt.NDArray[Any]],
        bool,
        list[tuple[int, dict[str, Any]]],
        npt.NDArray[np.float32] | None,
        dict[str, Any],
    ]: ...
    def draw(
        self, image_channels: int, segmentation_channels: int, shape: Sequence[int], id: SampleId
    ) -> list[tuple[int, dict[str, Any]]]: ...
    @property
    def all_native(self) -> bool: ...
    def stood_in(self) -> list[int]: ...
    def leaf_statistics(self) -> list[tuple[int, float]]: ...

class CaseFiles:
    def __init__(
        self,
        *,
        name: str,
        image: Path | str,
        segmentation: Path | str,
        previous: Path | str = "",
        image_member: str = "data",
        segmentation_member: str = "seg",
        previous_member: str = "seg",
        properties: Path | str = "",
        regression: Path | str = "",
        regression_member: str = "target",
    ) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def image(self) -> Path: ...
    @property
    def segmentation(self) -> Path: ...
    @property
    def previous(self) -> Path: ...
    @property
    def properties(self) -> Path: ...
    @property
    def regression(self) -> Path: ...

class SamplingOptions:
    def __init__(
        self,
        *,
        batch_size: int,
        patch_size: Sequence[int],
        final_patch_size: Sequence[int],
        pad_sides: Sequence[int],
        oversample_foreground: float,
        probabilistic_oversampling: bool,
        has_ignore: bool,
        sampling_probabilities: Sequence[float],
        first_slot: int = 0,
        global_batch_size: int = 0,
    ) -> None: ...

def find_cases(folder: Path, *, labelled: bool = True) -> list[CaseFiles]: ...
def stamp_of_case(files: CaseFiles) -> str: ...
def passing(errno: int) -> bool: ...
def system_passing(code: int) -> bool: ...

class LoaderOptions:
    def __init__(
        self,
        *,
        cases: Sequence[CaseFiles],
        sampling: SamplingOptions,
        dims: int,
        seed: int,
        rank: int,
        role: int,
        threads: int,
        most_threads: int,
        prefetch: int,
        memory_budget: int,
        budget_binds: bool,
        skip_bad_cases: bool,
        max_skipped: float,
        patience: float,
        check_finite: bool,
        keep_blocks: bool,
        places: Callable[[int, int], Path | _FilePlace] | None = None,
    ) -> None: ...

class Durations:
    count: int
    total: float
    median: float
    p99: float

class StageStatistics:
    name: str
    native: bool
    time: Durations

class LoaderStatistics:
    batches: int
    samples: int
    waited_seconds: float
    first_batch_seconds: float
    running_seconds: float
    wait: Durations
    sample: Durations
    stages: list[StageStatistics]
    bytes_read: int
    cache_bytes: int
    cache_hits: int
    cache_misses: int
    ready_batches: int
    batch_bytes: int
    batches_in_use: int
    workspace_bytes: int
    location_bytes: int
    location_reads: int
    open_files: int
    open_file_bytes: int
    memory_budget: int
    threads: int
    prefetch: int
    prefetch_limit: int

class Loader:
    def __init__(
        self,
        options: LoaderOptions,
        pipeline: Pipeline,
        locations: Callable[[int], list[tuple[list[int], bool, bool, npt.NDArray[np.int64]]]],
        memory: str,
        patience: float,
        on_stall: Callable[[float], float | None],
    ) -> None: ...
    def make(
        self, step: int, slot: int, attempt: int
    ) -> tuple[npt.NDArray[np.float32], list[npt.NDArray[Any]], bool, npt.NDArray[np.float32] | None, int]: ...
    def activity(self) -> tuple[int, int, int, int, int, list[tuple[int, int, int, str, str, float, float]]]: ...
    def next(
        self, patience: float, on_stall: Callable[[float], float | None]
    ) -> tuple[npt.NDArray[np.float32], list[npt.NDArray[Any]], npt.NDArray[np.float32] | None, list[int], int]: ...
    @property
    def step(self) -> int: ...
    def set_step(self, step: int, excluded: Sequence[tuple[str, str, str, int, int, int, str]]) -> None: ...
    def bad_cases(self) -> list[tuple[str, str, str, int, int, int, str]]: ...
    def statistics(self) -> LoaderStatistics: ...
    def sampled(self, step: int, slot: int, attempt: int = 0) -> tuple[int, bool, list[int], list[int]]: ...
    def cases_of(self, step: int) -> list[int]: ...
    @property
    def target_is_list(self) -> bool: ...
    def close(self, patience: Any) -> bool: ...
