"""How many of a law's examples to try: few in every run, many when asked for a soak."""

import os

SOAKING = os.environ.get("KNOWNAT_SOAK") == "1"


def scale(small: int, large: int) -> int:
    """Choose the number of examples: ``large`` when KNOWNAT_SOAK is 1, as ``make soak`` sets it."""
    return large if SOAKING else small
