"""Measuring: accuracy and calibration, cost, speed, the machine."""
