"""Camera frames of a line on a floor, and the steering that follows it."""
