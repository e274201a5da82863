"""One runnable file per feature. Each uses a ledger of its own that is gone afterwards, and needs no server."""
