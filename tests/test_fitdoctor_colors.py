"""The fit doctor on a colorizer's scores: one that does not beat answers without a network is told so."""

from dataclasses import replace

import numpy as np
import pytest

from segtrial import fitdoctor
from tests.test_fitdoctor import LINES, falling, log, rising

BASELINES = {"grey": {"ab_rmse": 16.0}, "mean_color": {"ab_rmse": 14.0}}


@pytest.mark.parametrize(("own", "said"), [(12.0, False), (14.0, True), (15.5, True), (None, False)])
def test_a_colorizer_must_beat_grey_and_the_mean_colour(own, said):
    run = log(falling(0.1, 3), rising(LINES, 0.9, 3), np.array([0.5, 0.7, 0.8, 0.85]))
    run = replace(run, evaluation={"scores": {"ab_rmse": own}, "baselines": BASELINES})
    found = [one for one in fitdoctor.examine(run).findings if one.code == "no_colors_learnt"]
    assert bool(found) == said
    for one in found:
        assert one.severity == "problem"
        assert "14.00" in one.message
        assert "mean colour" in one.message
        assert one.evidence == {"ab_rmse": own, "grey": 16.0, "mean_color": 14.0}
