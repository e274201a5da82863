"""Everything that holds Celadon to its promises."""
