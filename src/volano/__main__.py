"""`python -m volano` is the command line."""

from volano.cli.main import main

main()
