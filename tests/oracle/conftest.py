"""Lets the tests of this room import the oracle, which is no part of the package."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
