"""Tests of the platform; ``tests.loop`` runs the whole way as a user would."""
