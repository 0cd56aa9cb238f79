"""Widening half precision, and what the nearest centre of a vector owes to it."""

from __future__ import annotations

import numpy as np

from dawnchorus.clustering.sphere import ROWS, nearest, unit, widened


def test_every_finite_half_is_widened_to_the_bit():
    half = np.arange(2**16, dtype=np.uint16).view(np.float16)
    half = half[np.isfinite(half)]
    found = widened(half, np.empty(len(half), np.float32))
    assert np.array_equal(found.view(np.int32), half.astype(np.float32).view(np.int32))


def test_half_and_single_precision_of_the_same_values_have_the_same_nearest():
    generator = np.random.default_rng(3)
    half = generator.standard_normal((ROWS + 7, 24)).astype(np.float16)
    half[5] = 0
    centres = unit(generator.standard_normal((9, 24)).astype(np.float32))
    index, distance = nearest(half, centres, are_unit=False)
    same, as_far = nearest(half.astype(np.float32), centres, are_unit=False)
    assert np.array_equal(index, same)
    assert np.array_equal(distance, as_far)
    cosine = unit(half.astype(np.float64)) @ centres.T
    assert np.array_equal(index[:5], cosine[:5].argmax(axis=1))
    assert np.allclose(distance[6:], 1 - cosine[6:].max(axis=1), atol=2e-6)
