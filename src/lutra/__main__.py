"""`python -m lutra`: the command line, of this very interpreter."""

from lutra.cli.commands import main

main()
