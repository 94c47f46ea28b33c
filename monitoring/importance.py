"""Which columns a model leans on, read from its own text; LightGBM is not imported for it."""

import re

_SPLITS = re.compile(rb"^split_feature=(.*)$\n^split_gain=(.*)$", re.MULTILINE)


def gain_shares(model: bytes, *, columns: int) -> list[float]:
    """Return each column's share of all split gain, in the booster's order; zeros if nothing was split."""
    gains = [0.0] * columns
    for features, found in _SPLITS.findall(model):
        for feature, gain in zip(features.split(), found.split(), strict=True):
            gains[int(feature)] += float(gain)
    total = sum(gains)
    return [gain / total if total > 0 else 0.0 for gain in gains]
