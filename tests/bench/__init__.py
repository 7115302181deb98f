"""The benchmark: what ingle must reach, measured side by side in one run on the real demo model.

`python -m tests.bench` from the root of the repository. It prints a table, writes JSON, and never
fails for being slow: numbers are for people to judge, tests are for right and wrong.
"""

import sys
from pathlib import Path

# The tests' shared helpers are imported as pytest imports them.
sys.path.insert(0, str(Path(__file__).parents[1]))
