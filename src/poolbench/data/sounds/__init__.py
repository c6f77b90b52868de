"""Sounds as log-mel spectrograms, examples (1, frequencies, frames): generated tones, and folders of wav files."""
