"""`python -m impasto`: the command line."""

from impasto.cli import main

main()
