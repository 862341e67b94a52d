"""`python -m sendtide.local`: Apache Kafka on loopback, for `scripts/kafka`."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
from pathlib import Path

from sendtide.events.errors import SendtideError
from sendtide.local.kafka import fetch_kafka, start_kafka


def main() -> int:
    """Fetch, or run until told to stop; 2 and a sentence if it cannot."""
    parser = argparse.ArgumentParser(prog="scripts/kafka", description=__doc__)
    parser.add_argument("command", choices=["fetch", "start"])
    parser.add_argument("--brokers", type=int, choices=[1, 3], default=1)
    parser.add_argument("--port", type=int, default=None)
    parser.add_argument("--data", type=Path, default=None, help="without it a temporary one")
    options = parser.parse_args()
    try:
        if options.command == "fetch":
            print(fetch_kafka())
            return 0
        return run(options.data, options.brokers, options.port)
    except SendtideError as error:
        print(f"scripts/kafka: {error}", file=sys.stderr)
        return 2


def run(data: Path | None, brokers: int, port: int | None) -> int:
    """Start, say where, wait for SIGINT or SIGTERM, stop."""
    told = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told.set())
    with tempfile.TemporaryDirectory(prefix="sendtide-kafka-") as temporary:
        servers = start_kafka(data or Path(temporary), brokers, port)
        print(f"bootstrap={','.join(server.address for server in servers)}", flush=True)
        told.wait()
        for server in servers:
            server.process.terminate()
        for server in servers:
            server.stop(30.0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
