"""A draw depends on the words that name it and on nothing else (law 1)."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from segtrial.randomness import generator, key_of, seed_network, torch_generator

words = st.lists(st.one_of(st.text(max_size=5), st.integers()), max_size=4)


def test_the_key_is_blake2b_of_typed_words():
    digest = hashlib.blake2b(b"int:7\x1fstr:crop\x1fint:0", digest_size=8).digest()
    assert key_of(7, "crop", 0) == int.from_bytes(digest, "little") // 2


@given(words)
def test_keys_are_seeds_for_everybody(some):
    assert 0 <= key_of(*some) < 2**63
    assert key_of(*some) == key_of(*some)


@given(words, words)
def test_other_words_or_another_order_give_another_key(left, right):
    text = [word for word in left + right if isinstance(word, str)]
    if left != right and not any("\x1f" in word for word in text):
        assert key_of(*left) != key_of(*right)


@pytest.mark.parametrize(("left", "right"), [(("ab", "c"), ("a", "bc")), ((1,), ("1",)), ((1, 2), (12,)), ((), ("",))])
def test_words_do_not_run_together(left, right):
    assert key_of(*left) != key_of(*right)


def test_draws_do_not_depend_on_earlier_draws():
    expected = generator(3, "augment", 5, "photo").random(4)
    generator(3, "augment", 4, "photo").random(100)
    np.random.default_rng(0).random(3)
    np.testing.assert_array_equal(generator(3, "augment", 5, "photo").random(4), expected)
    torch.manual_seed(1)
    torch.rand(3)
    first = torch.rand(4, generator=torch_generator(3, "init", "weight"))
    torch.rand(3)
    assert torch.equal(torch.rand(4, generator=torch_generator(3, "init", "weight")), first)


@pytest.mark.parametrize(
    "other", [(4, "augment", 5, "a"), (3, "order", 5, "a"), (3, "augment", 6, "a"), (3, "augment", 5, "b")]
)
def test_each_word_counts(other):
    assert generator(3, "augment", 5, "a").random() != generator(*other).random()
    draws = [torch.rand(1, generator=torch_generator(*w)).item() for w in [(3, "augment", 5, "a"), other]]
    assert draws[0] != draws[1]


def test_first_draws_over_places_are_uniform_and_unrelated():
    """Neighbouring places must not have neighbouring numbers, which a seed of seed + epoch would give."""
    table = np.array([[generator(0, "x", epoch, place).random() for place in range(50)] for epoch in range(40)])
    assert kstest(table.ravel(), "uniform").pvalue > 1e-3
    assert np.abs(np.corrcoef(table[:-1].ravel(), table[1:].ravel())[0, 1]) < 0.1
    assert np.abs(np.corrcoef(table[:, :-1].ravel(), table[:, 1:].ravel())[0, 1]) < 0.1


def test_the_networks_own_draws_are_keyed_by_seed_step_and_rank():
    def dropped(seed: int, step: int, rank: int) -> torch.Tensor:
        torch.rand(7)
        seed_network(seed, step, rank)
        return torch.nn.functional.dropout(torch.ones(100))

    assert torch.equal(dropped(0, 5, 1), dropped(0, 5, 1))
    for other in [(1, 5, 1), (0, 6, 1), (0, 5, 0)]:
        assert not torch.equal(dropped(0, 5, 1), dropped(*other))
