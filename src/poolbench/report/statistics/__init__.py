"""Estimates, paired differences, verdicts, and what holds over data sets."""
