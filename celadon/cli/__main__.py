"""`python -m celadon.cli`, where the script `celadon` is not installed."""

from celadon.cli import main

main()
