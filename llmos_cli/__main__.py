"""``python -m llmos_cli``."""

import sys

from llmos_cli.main import main

sys.exit(main())
