"""Rows of additive numbers of whole runs -> intervals, verdicts, power. numpy and scipy; the score is a function."""

from segtrial.statistics.blocks import FEWEST_BLOCKS, Interval, NoInterval, block_interval, video_blocks
from segtrial.statistics.exact import sign_flip_test
from segtrial.statistics.folds import fold_interval
from segtrial.statistics.many import compare_all, compare_with_baseline, holm
from segtrial.statistics.pairs import PairResult, compare_classes, compare_pair
from segtrial.statistics.power import (
    DEFAULT_SPREAD,
    MOST_SEEDS,
    pooled_spread,
    predicted_power,
    seeds_needed,
    smallest_visible,
)
from segtrial.statistics.spread import Estimate, VarianceSplit, variance_split
from segtrial.statistics.verdict import Answer, in_words

__all__ = [
    "DEFAULT_SPREAD",
    "FEWEST_BLOCKS",
    "MOST_SEEDS",
    "Answer",
    "Estimate",
    "Interval",
    "NoInterval",
    "PairResult",
    "VarianceSplit",
    "block_interval",
    "compare_all",
    "compare_classes",
    "compare_pair",
    "compare_with_baseline",
    "fold_interval",
    "holm",
    "in_words",
    "pooled_spread",
    "predicted_power",
    "seeds_needed",
    "sign_flip_test",
    "smallest_visible",
    "variance_split",
    "video_blocks",
]
