"""A server whose calls of the system fail, one a request: it answers or ends the connection, and answers the next one.

    python3 serve_faults_test.py SERVE_FAULTS      the server, linked to tests/support/faults.cpp

Every call of a kind up to the 16th ($SLICE_FAULTS) is made to fail, then ever fewer.
"""

import os
import pathlib
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "serve"))
from server import Server  # noqa: E402

PROGRAM = pathlib.Path(sys.argv[1]).resolve()
KINDS = {"read": 1, "write": 2, "thread": 6, "allocate": 7, "tensor": 8}  # as in tests/support/faults.h
BODY = {"prompt": "The history of the", "max_tokens": 8, "temperature": 0}
SECONDS = 30


def next_fault(at):
    first = max(1, int(os.environ.get("SLICE_FAULTS", 16)))
    return at + 1 if at < first else at + max(1, 8 * at // first)


def text_of(server):
    status, _, body = server.post("/v1/completions", BODY, timeout=SECONDS)
    assert status == 200, (status, body)
    return body["choices"][0]["text"]


def ask(server, want):
    """A request that may fail. Returns whether it did."""
    try:
        status, _, body = server.post("/v1/completions", BODY, timeout=SECONDS)
    except TimeoutError:
        raise SystemExit("a request got no answer")
    except (OSError, ValueError, IndexError, UnicodeDecodeError):
        return True  # the connection ended
    if status == 200:
        reason = body["choices"][0]["finish_reason"]
        assert body["choices"][0]["text"] == want or reason not in ("stop", "length"), body
        return body["choices"][0]["text"] != want
    assert status >= 400 and "error" in body, (status, body)
    return True


def threads(server):
    return len(os.listdir(f"/proc/{server.process.pid}/task"))


def descriptors(server):
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def settles(server, before):
    """Whether it has as many descriptors as before, soon."""
    end = time.monotonic() + SECONDS
    while descriptors(server) > before and time.monotonic() < end:
        time.sleep(0.01)
    return descriptors(server) <= before


def run_kind(server, order, name, want):
    at, points, failed, calls = 1, 0, 0, 0
    before = descriptors(server)
    while True:
        order.write_text(f"{KINDS[name]} {at}")
        holding = server.connect() if name == "thread" else None  # takes the thread that there is
        time.sleep(0.1 if holding else 0)
        server.process.send_signal(signal.SIGUSR1)
        time.sleep(0.002)
        fails = ask(server, want)
        if holding:
            holding.close()
        server.process.send_signal(signal.SIGUSR2)
        end = time.monotonic() + SECONDS
        while " " in (order.read_text() or " "):
            assert server.process.poll() is None, f"{name} {at}: the server ended"
            assert time.monotonic() < end, f"{name} {at}: the server does not hear"
            time.sleep(0.001)
        calls = int(order.read_text())
        assert server.process.poll() is None, f"{name} {at}: the server ended"
        assert text_of(server) == want, f"{name} {at}: the next text is another one"
        assert settles(server, before), f"{name} {at}: descriptors were leaked"
        if calls < at:
            assert not fails, f"{name} {at}: failed without a fault"
            print(f"server,{name},{calls},{points},{failed}", flush=True)
            return
        points += 1
        failed += fails
        at = next_fault(at)


def main():
    with tempfile.TemporaryDirectory() as scratch:
        order = pathlib.Path(scratch) / "order"
        order.write_text("")
        os.symlink(PROGRAM, pathlib.Path(scratch) / "serve")
        os.environ["SLICE_FAULT_FILE"] = str(order)
        with Server(scratch, "--quiet") as server:
            want = text_of(server)
            for name in KINDS:
                run_kind(server, order, name, want)
            assert server.stop() == 0


if __name__ == "__main__":
    main()
