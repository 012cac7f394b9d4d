"""Entry point of the launcher process; kept tiny because it is compiled at each start."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120

import jail  # type: ignore[import-not-found]

jail.main()
