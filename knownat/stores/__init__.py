"""Feast plug-ins and what lies beneath them: the as-of join, materialization, online reads."""
