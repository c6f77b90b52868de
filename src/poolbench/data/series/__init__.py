"""Series of numbers as examples (C, L): heartbeats by a dynamical model, and the files of the UCR archive."""
