"""Orders: placed by the shop, then worked through in steps (stock, mail, invoice)."""
