from typing import Any

import numpy as np
import numpy.typing as npt

def outlines(mask: npt.NDArray[Any]) -> list[npt.NDArray[np.float32]]: ...
