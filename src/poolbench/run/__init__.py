"""One cell, from its data to its record."""
