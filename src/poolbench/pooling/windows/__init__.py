"""Window operators, one definition a file."""
