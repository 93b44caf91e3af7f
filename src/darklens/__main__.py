"""Lets `python -m darklens` be the command line."""

from darklens.cli import main

main()
