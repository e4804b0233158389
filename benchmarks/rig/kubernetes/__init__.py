"""A control plane to measure on: the test bed's, put together by what the tests are made of, which is found from here.

Nothing outlives the benchmark but on SIGKILL, where the control plane still ends with it.
"""

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]

sys.path += [str(REPOSITORY / "tests" / suite) for suite in ("e2e", "integration")]
