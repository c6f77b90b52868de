"""The tables: their columns, and the frames that fill them."""
