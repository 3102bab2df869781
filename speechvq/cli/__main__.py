"""The command line, as `python -m speechvq.cli`."""

import sys

from speechvq.cli import main

sys.exit(main())
