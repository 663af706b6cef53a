"""Randomness from (seed, stream, index) alone."""

import numpy as np
import pytest

from deconvnet.core.blob import current_seed, generator, number, randomness, set_seed


@pytest.fixture
def seed_unset(monkeypatch):
    monkeypatch.setattr(randomness, "_seed", None)


def test_the_same_key_gives_the_same_numbers_in_any_order():
    first, second = generator(3, "layer", 1).random(4), generator(3, "layer", 2).random(4)
    np.testing.assert_array_equal(generator(3, "layer", 2).random(4), second)
    np.testing.assert_array_equal(generator(3, "layer", 1).random(4), first)
    assert number(3, "layer", 1) == number(3, "layer", 1)


def test_each_part_of_the_key_matters():
    keys = [(1, "a", 0), (2, "a", 0), (1, "b", 0), (1, "a", 1), (-1, "a", 0), (2**40, "a", 0)]
    assert len({number(*key) for key in keys}) == len(keys)
    assert len({generator(*key).random() for key in keys}) == len(keys)


def test_numbers_fill_64_bits():
    drawn = [number(0, "layer", index) for index in range(200)]
    assert all(0 <= value < 2**64 for value in drawn) and max(drawn) > 2**62
    bits = np.array([[value >> bit & 1 for bit in range(64)] for value in drawn]).mean(axis=0)
    assert np.abs(bits - 0.5).max() < 5 * 0.5 / np.sqrt(200)


def test_the_seed_that_was_set_is_the_current_one(seed_unset):
    set_seed(17)
    assert current_seed() == current_seed() == 17


def test_without_a_seed_each_net_gets_a_fresh_one(seed_unset):
    assert len({current_seed() for _ in range(5)}) == 5


def test_setting_a_seed_leaves_numpys_global_generator_alone(seed_unset):
    state = np.random.get_state()[1].copy()
    set_seed(5)
    generator(5, "x").random(3)
    np.testing.assert_array_equal(np.random.get_state()[1], state)
