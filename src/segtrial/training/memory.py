"""A step that does not fit the memory -> an error that names the largest batch that does."""

from collections.abc import Callable

import torch

from segtrial.errors import DeviceError

_SAID = ("out of memory", "can't allocate memory", "not enough memory")
"""How CUDA, the CPU allocator of torch and MPS say it."""


def is_exhausted(error: RuntimeError) -> bool:
    """Whether this is the memory's end, and not another fault."""
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in _SAID)


def largest_that_fits(attempt: Callable[[int], object], most: int) -> int:
    """The largest number of images from 0 to `most` for which `attempt` finds memory; it is taken to grow with them."""
    fits, fails = 0, most + 1
    while fails - fits > 1:
        count = (fits + fails) // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # what the last attempt left behind
        try:
            attempt(count)
            fits = count
        except RuntimeError as error:
            if not is_exhausted(error):
                raise
            fails = count
    return fits


def too_small(images: tuple[int, ...], fits: int | None, batch: int) -> DeviceError:
    """The error to raise: `images` is the shape b c h w that did not fit, `fits` how many do (None: nobody could try).

    `batch` is the number of images of the step on this rank.
    """
    count, _, height, width = images
    found = f"{count} images of {height}x{width} do not fit the memory at once"
    smaller = "set crop_pixels lower or choose a smaller network"
    if fits is None:
        return DeviceError("memory", found, f"Set accumulate higher (pieces that a batch is cut into), or {smaller}")
    if fits == 0:
        return DeviceError("memory", f"{found}, nor does a single one", smaller[0].upper() + smaller[1:])
    fix = f"Set accumulate={-(-batch // fits)} (pieces that a batch is cut into), or {smaller}"
    return DeviceError("memory", f"{found}; the largest batch that fits is {fits}", fix)
