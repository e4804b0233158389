"""Generate the messages of KEDA's external scaler from planner/external_scaler/externalscaler.proto.

python scripts/generate_external_scaler.py            write them
python scripts/generate_external_scaler.py FOLDER     write them there instead, to compare
"""

from __future__ import annotations

import sys
from pathlib import Path

from grpc_tools import protoc

PACKAGE = Path(__file__).resolve().parents[1] / "planner" / "external_scaler"


def main(folder: Path) -> int:
    """Exit status of protoc."""
    words = ["protoc", f"--proto_path={PACKAGE}", f"--python_out={folder}", f"--pyi_out={folder}"]
    return int(protoc.main([*words, "externalscaler.proto"]))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE))
