"""What an installed wheel is: its size, its symbols, what it needs, how long it takes to import, and its neighbours."""

from __future__ import annotations

import ctypes.util
import importlib.util
import itertools
import re
import statistics
import subprocess
import sys
from pathlib import Path

LONGEST_IMPORT = 0.15  # seconds beyond torch
OF_THE_SYSTEM = re.compile(r"^(libc|libm|libdl|libpthread|librt|ld-linux-[\w-]+)\.so\.\d+$")
NEIGHBOURS = ("cv2", "blosc2", "numba", "sklearn.cluster", "imagecodecs", "SimpleITK")
OF_THE_DISTRIBUTION = "OpenCV of the distribution"
WORK = {
    "fastnnunet_loader": (
        "import fastnnunet_loader as fl, numpy; fl.resample(numpy.zeros((1, 9, 9, 9), 'f'), (5, 5, 5), 3)\n"
        "from fastnnunet_loader import _pictures, _torch\n"
        "assert len(_pictures.outlines(numpy.eye(5, dtype='uint8'))) > 0"
    ),
    "cv2": "import cv2, numpy; cv2.GaussianBlur(numpy.zeros((64, 64), 'uint8'), (5, 5), 1)",
    "blosc2": "import blosc2, numpy; blosc2.asarray(numpy.arange(1e5))[:]",
    "numba": (
        "import numba, numpy\n@numba.njit(parallel=True)\ndef f(a):\n    for i in numba.prange(9): a[i] = 1\nf(numpy.ones(9))"
    ),
    "sklearn.cluster": "from sklearn.cluster import KMeans; import numpy; KMeans(2, n_init=1).fit(numpy.random.rand(50, 3))",
    "imagecodecs": "import imagecodecs; imagecodecs.zstd_decode(imagecodecs.zstd_encode(b'1' * 1000))",
    "SimpleITK": "import SimpleITK as s; s.SmoothingRecursiveGaussian(s.Image(20, 20, 20, s.sitkFloat32), 2.0)",
    # Its names are visible to whatever is loaded later, as they are in a program that links it.
    OF_THE_DISTRIBUTION: (
        "import ctypes, ctypes.util as u\n"
        "[ctypes.CDLL(u.find_library(n), ctypes.RTLD_GLOBAL) for n in ('opencv_core', 'opencv_imgproc')]\n"
        "f = ctypes.CDLL(None)['_ZN2cv9fastAtan2Eff']; f.restype = ctypes.c_float; f.argtypes = [ctypes.c_float] * 2\n"
        "assert abs(f(1, 1) - 45) < 0.1"
    ),
}


def run(code: str) -> str:
    """What Python prints in a process of its own."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8")
    if done.returncode:
        sys.exit(f"expected this to run:\n{code}\ngot exit code {done.returncode}:\n{done.stderr}")
    return done.stdout


def import_seconds() -> float:
    """Of the package's native parts, beyond torch's."""
    ours = "import fastnnunet_loader._core, fastnnunet_loader.loading.loader"
    code = f"import torch, numpy, time; t = time.perf_counter(); {ours}; print(time.perf_counter() - t)"
    run(code)
    return statistics.median(float(run(code)) for _ in range(5))


def main() -> int:
    """Print what was found; 1 where it is not as promised."""
    spec = importlib.util.find_spec("fastnnunet_loader")
    assert spec is not None and spec.origin is not None
    wrong: list[str] = []
    for file in sorted(Path(spec.origin).parent.glob("_*.so")):
        read = subprocess.run(["readelf", "--wide", "-d", file], check=True, capture_output=True, encoding="utf-8").stdout
        needed = re.findall(r"\(NEEDED\).*\[(.+)\]", read)
        foreign = [name for name in needed if not OF_THE_SYSTEM.match(name) and name != "libtorch_cpu.so"]
        symbols = subprocess.run(
            ["readelf", "--wide", "--dyn-syms", file], check=True, capture_output=True, encoding="utf-8"
        ).stdout
        exported = [
            line.split()[7].split("@")[0]
            for line in symbols.splitlines()
            if re.match(r"\s+\d+:", line)
            and line.split()[4] in ("GLOBAL", "WEAK")
            and line.split()[6] != "UND"
            and len(line.split()) > 7
        ]
        others = [name for name in exported if not name.startswith("PyInit_")]
        newest = max((tuple(map(int, v.split("."))) for v in re.findall(r"GLIBC_([\d.]+)", symbols)), default=(0,))
        print(
            f"{file.name}: {file.stat().st_size / 2**20:.1f} MiB, needs {', '.join(needed)}; glibc {'.'.join(map(str, newest))}"
        )
        if foreign:
            wrong.append(f"{file.name} needs {', '.join(foreign)}")
        if file.name.startswith("_torch.") and "libtorch_cpu.so" not in needed:
            wrong.append(f"{file.name} does not name libtorch_cpu.so, so it does not load")
        if others:
            wrong.append(f"{file.name} exports {len(others)} symbols beside its PyInit, such as {others[0]}")
    run("from fastnnunet_loader.doctor.software import this_package as f; c = f(); assert 'built against' in c.found, c.why")
    seconds = import_seconds()
    print(f"import: {seconds * 1e3:.0f} ms beyond torch and NumPy")
    if seconds > LONGEST_IMPORT:
        wrong.append(f"the import takes {seconds * 1e3:.0f} ms, expected {LONGEST_IMPORT * 1e3:.0f}")
    for neighbour in (*NEIGHBOURS, OF_THE_DISTRIBUTION):
        if neighbour == OF_THE_DISTRIBUTION:
            there = all(ctypes.util.find_library(name) for name in ("opencv_core", "opencv_imgproc"))
        else:
            there = importlib.util.find_spec(neighbour.split(".")[0]) is not None
        if not there:
            wrong.append(f"{neighbour} is not installed, so nothing was tried beside it")
            continue
        for order in itertools.permutations(("fastnnunet_loader", neighbour)):
            run("\n".join([*(WORK[name] for name in order), *(WORK[name] for name in order)]))
        print(f"beside {neighbour}, before and after: works")
    for line in wrong:
        print(f"WRONG: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
