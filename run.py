"""The command line from a checkout: ``python run.py VERB key=value ...`` (see ``--help``)."""

import sys

from recon.cli import main

if __name__ == "__main__":
    sys.exit(main())
