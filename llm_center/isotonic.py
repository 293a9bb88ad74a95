"""Isotonic regression: the rising steps that are closest to weighted values."""

from collections.abc import Sequence


def isotonic_regression(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Return the non-decreasing values with the smallest weighted squared distance, by pooling neighbours that fall."""
    blocks: list[tuple[float, float, int]] = []  # weighted mean, weight, number of values
    for value, weight in zip(values, weights, strict=True):
        mean, total, count = float(value), float(weight), 1
        while blocks and blocks[-1][0] >= mean:
            before, before_total, before_count = blocks.pop()
            mean = (before * before_total + mean * total) / (before_total + total)
            total, count = before_total + total, before_count + count
        blocks.append((mean, total, count))
    return [mean for mean, _, count in blocks for _ in range(count)]
