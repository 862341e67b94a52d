"""Real servers on this machine, for a first look and for tests: brokers, Valkey, child programs.

Comes in: a folder for logs. Goes out: running servers on loopback and their addresses.
Invariant: no server outlives the process that started it, however that ends (Linux; elsewhere only
an orderly end reaches the children).
Limit: the embedded broker keeps everything in memory; a restart forgets all. Apache Kafka keeps its
data in the folder it is given, and needs Java and Maven.
"""

from sendtide.local.kafka import KAFKA_VERSION, fetch_kafka, start_kafka, stop_kafka
from sendtide.local.ports import free_port
from sendtide.local.processes import ServerProcess, start_program
from sendtide.local.servers import start_broker, start_redis, start_valkey

__all__ = [
    "KAFKA_VERSION",
    "ServerProcess",
    "fetch_kafka",
    "free_port",
    "start_broker",
    "start_kafka",
    "start_program",
    "start_redis",
    "start_valkey",
    "stop_kafka",
]
