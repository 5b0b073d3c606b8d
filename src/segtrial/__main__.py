"""`python -m segtrial` and `torchrun -m segtrial` -> the same command line as `segtrial`."""

import sys

from segtrial.cli import main

sys.exit(main())
