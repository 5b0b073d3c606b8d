"""Other libraries' networks, made to enlarge as ours do."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch.nn.functional as F

_interpolate = F.interpolate


@contextmanager
def pixels_as_areas() -> Iterator[None]:
    """Every bilinear interpolation inside is with align_corners=False, whatever it was asked for."""

    def interpolate(x, size=None, scale_factor=None, mode="nearest", align_corners=None, **rest):
        corners = None if align_corners is None else False
        return _interpolate(x, size, scale_factor, mode, align_corners=corners, **rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "interpolate", interpolate)
        yield
