"""From a results folder to blocks and arms, and what a reader must know of them."""
