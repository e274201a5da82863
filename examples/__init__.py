"""One runnable file per feature. Each has a ledger of its own for the time it runs, and needs no server."""
