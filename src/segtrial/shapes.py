"""The legend of axis letters, and the one label that never counts.

    b  images in a batch          c  channels of an image, or features of a map
    h  rows of pixels             w  columns of pixels
    k  classes                    n  images in a part, or rows of counts
    d  draws, replicates          p  pixels in a row

`Float[Tensor, "b k h w"]` is therefore a batch of score maps. Annotations follow jaxtyping: they are
checked while testing (pytest --jaxtyping-packages) and cost nothing otherwise.
"""

IGNORE = 255
"""Target value of a pixel that counts nowhere: not in a loss, not in a score."""

MOST_CLASSES = 255
"""Class indices are uint8 from 0 to 254; 255 is IGNORE."""
