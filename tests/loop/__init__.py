"""The whole way, end to end: features, training, a served day on a simulated clock, a report."""
