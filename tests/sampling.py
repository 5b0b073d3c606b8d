"""A check of random input -> a test of a few draws, and a slow one of many."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis.strategies import SearchStrategy


def sampled(few: int, many: int, /, **drawn: SearchStrategy) -> Callable[[Callable[..., None]], Callable[[int], None]]:
    """Turn a check of what is `drawn` into a test of `few` examples and, slowly, of `many`."""

    def tested(check: Callable[..., None]) -> Callable[[int], None]:
        @pytest.mark.parametrize("examples", [few, pytest.param(many, marks=pytest.mark.slow)])
        def test(examples: int) -> None:
            settings(max_examples=examples, deadline=None)(given(**drawn)(check))()

        test.__doc__ = check.__doc__
        return test

    return tested
