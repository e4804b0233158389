"""The published name of `planner fit`: `python scripts/create_pretrained_model.py --data DIR --output model.json`.

Every option is passed on, above all --data, --output, --verbose, --analyze-only and --demo. Models are JSON, so an
output named .pkl is refused.
"""

from __future__ import annotations

import sys

from planner.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["fit"]
    main()
