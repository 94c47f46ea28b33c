"""Scorers as their makers' pages tell one to write them, each a process of its own."""
