"""Reports: what the shop's people read in the morning."""
