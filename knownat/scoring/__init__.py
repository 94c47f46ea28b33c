"""One way to a score, used by training, serving and monitoring alike."""
