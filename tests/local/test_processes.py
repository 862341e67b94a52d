"""Children start with a sentence when they cannot, and never outlive us."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from local.waiting import lives, soon
from sendtide.events.errors import ConfigurationError, Unavailable
from sendtide.local import processes, start_program

PARENT = """
import sys, time
from pathlib import Path
from sendtide.local import start_broker, start_valkey
logs = Path(sys.argv[1])
servers = [start_broker(logs), start_valkey(logs)]
try:
    print(*[server.process.pid for server in servers], flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    for server in reversed(servers):
        print(server.name, server.stop(), flush=True)
"""


def start_parent(folder: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """A process with both servers, and their process ids."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    children = [int(word) for word in parent.stdout.readline().split()]
    assert len(children) == 2
    assert all(map(lives, children))
    return parent, children


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the parent-death signal")
def test_no_server_outlives_a_killed_parent(tmp_path):
    """After SIGKILL of the parent both servers are gone within two seconds."""
    parent, children = start_parent(tmp_path)
    parent.kill()
    parent.communicate()
    assert soon(lambda: not any(map(lives, children)), within_s=2.0)


def test_ctrl_c_leaves_the_order_to_the_parent(tmp_path):
    """A terminal's Ctrl-C, sent to the whole group, reaches no server before the parent ends it."""
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0)
    assert parent.stdout is not None
    children = [int(word) for word in parent.stdout.readline().split()]
    os.killpg(parent.pid, signal.SIGINT)
    rest, _ = parent.communicate(timeout=20)
    assert rest.split() == ["valkey", "0", "broker", rest.split()[-1]]
    assert parent.returncode == 0
    assert not any(map(lives, children))


def test_a_child_that_ignores_sigterm_is_killed(tmp_path):
    """After the given patience it is SIGKILL."""
    stubborn = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); "
        "print(1, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", stubborn]
    child = start_program("stubborn", command, address="", logs=tmp_path)
    child.wait_until(lambda: child.tail() == "1", 10.0)
    assert child.stop(0.1) == -signal.SIGKILL
    assert not child.running


def test_a_child_that_ends_early_is_told_with_its_last_words(tmp_path):
    """Not being ready in time and ending at once are different sentences."""
    command = [sys.executable, "-c", "print('the disk is a lie'); raise SystemExit(7)"]
    child = start_program("early", command, address="", logs=tmp_path)
    with pytest.raises(Unavailable, match=r"early ended with 7 .*the disk is a lie"):
        child.wait_until(lambda: False, 10.0)
    slow = start_program("slow", ["sleep", "60"], address="", logs=tmp_path)
    with pytest.raises(Unavailable, match="slow is not ready within 0 s"):
        slow.wait_until(lambda: False, 0.05)
    assert not slow.running


def test_a_stranger_that_answers_does_not_make_an_ended_child_ready(tmp_path):
    """An answer counts only while the child lives."""
    child = start_program("gone", [sys.executable, "-c", ""], address="", logs=tmp_path)
    child.process.wait()
    with pytest.raises(Unavailable, match="gone ended with 0"):
        child.wait_until(lambda: True, 10.0)


def test_a_missing_program_is_named(tmp_path):
    """The sentence says what is missing; no log is made."""
    with pytest.raises(ConfigurationError, match="no program no-such-program"):
        start_program("x", ["no-such-program"], address="", logs=tmp_path / "logs")
    assert not (tmp_path / "logs").exists()


def test_a_folder_that_cannot_be_written_names_the_option(tmp_path):
    """A file in the way of the folder, which even the administrator cannot write into."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"cannot be written .*--data"):
        start_program("x", ["true"], address="", logs=tmp_path / "file" / "logs")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_as_such():
    """ENOSPC and a used-up quota ask for room, other errors for another folder."""
    with pytest.raises(OSError) as full, Path("/dev/full").open("wb", buffering=0) as device:
        device.write(b"x")
    assert full.value.errno == errno.ENOSPC
    assert "make room" in processes._refusal("x", Path("x.log"), full.value)
    denied = PermissionError(errno.EACCES, "Permission denied")
    assert "may write to" in processes._refusal("x", Path("x.log"), denied)


def test_children_are_started_from_the_main_thread_only(tmp_path):
    """Another thread's end would end the child, so it is refused at once."""
    refused: list[BaseException] = []

    def start() -> None:
        try:
            start_program("x", ["true"], address="", logs=tmp_path)
        except RuntimeError as error:
            refused.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(refused[0])


def test_standard_input_is_what_was_fed(tmp_path):
    """Secrets come in there, so that no command line shows them; the end of input follows."""
    child = start_program("cat", ["cat"], address="", logs=tmp_path, feed=b"requirepass x\n")
    assert child.process.wait(10) == 0
    assert child.log.read_bytes() == b"requirepass x\n"
