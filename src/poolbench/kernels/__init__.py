"""Formulas of one window as compiled kernels, and as torch's own operations."""
