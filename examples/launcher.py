"""A launcher for bare metal: keeps as many processes as the planner orders. docs/launchers.md explains the protocol.

A replica holds a lock on its file `<role>-<n>.pid` for as long as it lives, so none is started twice, however many
launchers there are and however they end. SIGTERM ends the launcher alone; the next one finds the replicas again.
"""

import argparse
import fcntl
import http.client
import json
import logging
import os
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from urllib.parse import quote

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("url", help="where the service's orders are, such as http://planner:8080/launcher/chat")
parser.add_argument("--token-file", type=Path, required=True)
parser.add_argument("--folder", type=Path, required=True, help="where the replicas' files are; it must exist")
parser.add_argument("--most", type=int, default=8, help="replicas of one role that there is room for")
parser.add_argument("--grace-s", type=float, default=120, help="between SIGTERM and SIGKILL")
for each in ("prefill", "decode", "aggregated"):
    parser.add_argument(f"--{each}", default="sleep infinity", help=f"command that becomes a {each} replica")
args = parser.parse_args()
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")


def ask(method: str, path: str, body: dict | None = None) -> dict:
    """Call the planner; empty when it has nothing to say. The token is read each time, because it may be changed."""
    headers = {"Authorization": f"Bearer {args.token_file.read_text().strip()}", "Content-Type": "application/json"}
    url, data = f"{args.url}/{path}", json.dumps(body).encode() if body else None
    with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=45) as answer:
        return json.loads(answer.read() or "{}")


def lives(file: Path, command: str = "") -> bool:
    """Whether a replica holds the lock of `file`; if not, `command` starts one. Adapt: ready is what is healthy."""
    with file.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        if command:
            lock.truncate(0)
            become = ["sh", "-c", f'echo $$ > "$0" && exec {command}', str(file)]
            subprocess.Popen(become, pass_fds=[lock.fileno()], start_new_session=True)
        return False


def bring_about(replicas: dict[str, int]) -> dict[str, int]:
    """Start what lacks, stop what is too much, the highest numbers first; what runs in the end."""
    with (args.folder / "turn").open("a") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # launchers take turns
        files = {role: [args.folder / f"{role}-{n}.pid" for n in range(args.most)] for role in replicas}
        leaving = []
        for role, count in replicas.items():
            alive = [file for file in files[role] if lives(file)]
            for file in [file for file in files[role] if file not in alive][: max(count - len(alive), 0)]:
                lives(file, command=vars(args)[role])
            leaving += alive[count:]
        for number, patience_s in ((signal.SIGTERM, args.grace_s), (signal.SIGKILL, 5)):
            for file in filter(lives, leaving):
                os.killpg(int(file.read_text()), number)
            until_s = time.monotonic() + patience_s
            while any(map(lives, leaving)) and time.monotonic() < until_s:
                time.sleep(0.05)
        return {role: sum(map(lives, files[role])) for role in replicas}


after, held, pause_s = "", {}, 0.5
while True:
    try:
        order = ask("GET", f"order?wait_s=30{after and '&after=' + quote(after)}")
        held = order.get("replicas", held)
        ready = bring_about(held)
        if order:
            done = all(ready[role] >= count for role, count in held.items())
            answer = {"completed": done, "reason": f"{ready} run, {args.most} of a role have room", "ready": ready}
            logging.info("%s: %s", order, ask("POST", f"orders/{quote(order['id'])}", answer))
            after, held = order["id"], held if done else ready
        elif ready:
            ask("PUT", "ready", {"ready": ready})
        pause_s = 0.5
    except (OSError, ValueError, http.client.HTTPException) as error:
        logging.warning("%s; again in %.0f s", error, pause_s := min(2 * pause_s, 60))
        time.sleep(pause_s)
