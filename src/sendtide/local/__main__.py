"""`python -m sendtide.local`: Apache Kafka on loopback, for `scripts/kafka`."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from sendtide.events.errors import SendtideError
from sendtide.local.kafka import fetch_kafka, start_kafka, stop_kafka


def main() -> int:
    """Fetch, or run until told to stop; 2 and a sentence if it cannot."""
    parser = argparse.ArgumentParser(prog="scripts/kafka", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch", help="only fetch the jars; prints their folder")
    start = commands.add_parser("start", help="run until Ctrl-C or SIGTERM; prints the address")
    start.add_argument("--brokers", type=int, choices=[1, 3], default=1)
    start.add_argument("--port", type=int, help="of the first broker; a free one if absent")
    start.add_argument("--data", type=Path, help="kept; a temporary folder if absent")
    options = parser.parse_args()
    try:
        if options.command == "fetch":
            print(fetch_kafka())
            return 0
        return run(options.data, options.brokers, options.port)
    except SendtideError as error:
        print(f"scripts/kafka: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def run(data: Path | None, brokers: int, port: int | None) -> int:
    """Start, say where, wait for SIGINT or SIGTERM, stop; 1 if a broker ended by itself."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # both as KeyboardInterrupt
    with tempfile.TemporaryDirectory(prefix="sendtide-kafka-") as temporary:
        servers = start_kafka(data or Path(temporary), brokers, port)
        try:
            print(f"bootstrap={','.join(server.address for server in servers)}", flush=True)
            while all(server.running for server in servers):
                time.sleep(0.5)
        except KeyboardInterrupt:
            return 0
        else:
            for server in servers:
                if not server.running:
                    print(f"{server.name} ended by itself: {server.tail()}", file=sys.stderr)
            return 1
        finally:
            stop_kafka(servers)


if __name__ == "__main__":
    sys.exit(main())
