"""Real servers on this machine, for a first look and for tests: a broker and Valkey out of wheels.

Comes in: a folder for logs. Goes out: running servers on loopback and their addresses.
Invariant: no server outlives the process that started it, however that ends.
Limit: the embedded broker keeps everything in memory; a restart forgets all.
"""

from sendtide.local.processes import ServerProcess, free_port, start_program
from sendtide.local.servers import start_broker, start_valkey

__all__ = ["ServerProcess", "free_port", "start_broker", "start_program", "start_valkey"]
