"""Parameter counts against published ones: every line of counts.csv, which docs/models.md prints as well."""

import csv
from pathlib import Path

import pytest
import torch

from segtrial import models

with Path(__file__).with_name("counts.csv").open() as file:
    ROWS = list(csv.DictReader(file))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['spec']} {row['classes']}")
def test_a_network_has_the_published_number_of_parameters(row):
    name, options = models.parse(row["spec"])
    with torch.device("meta"):
        network = models.build(name, int(row["classes"]), int(row["channels"]), **options)
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == int(row["parameters"]), row["source"]
