"""How Celadon is run: on one machine without containers (`make demo`, `make up`)."""
