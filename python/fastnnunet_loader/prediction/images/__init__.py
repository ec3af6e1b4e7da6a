"""Image files: what can be found out about them before their voxels are read."""

from .headers import Header, of_image, read_header, unwritable
from .wholeness import Lack, missing_voxels

__all__ = ["Header", "Lack", "missing_voxels", "of_image", "read_header", "unwritable"]
