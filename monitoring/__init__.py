"""Logged predictions to profiles, drift, performance, reports."""
