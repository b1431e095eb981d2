"""`python -m lodestream.cli`."""

import sys

from lodestream.cli import main

sys.exit(main())
