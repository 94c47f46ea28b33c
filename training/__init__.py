"""Examples to frame to booster to evidence to release."""
