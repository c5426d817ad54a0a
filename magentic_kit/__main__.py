"""`python -m magentic_kit` is the command `magentic-kit`."""

from magentic_kit.cli.app import main

main()
