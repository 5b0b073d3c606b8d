"""Small folders of pictures, written as a test describes them."""

from tests.data.conftest import cache, make

__all__ = ["cache", "make"]
