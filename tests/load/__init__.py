"""Bounded traffic to a server on loopback, and what the server spends on it."""
