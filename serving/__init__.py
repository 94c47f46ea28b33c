"""Entity keys to features to score to answer, and a logged prediction."""
