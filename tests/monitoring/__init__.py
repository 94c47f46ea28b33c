"""Tests of the production judge."""
