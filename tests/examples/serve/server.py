"""A server of tests, and a small HTTP client over a socket; nothing beside Python's own library."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import time

DATA = pathlib.Path(__file__).resolve().parents[2] / "data"
MODEL = DATA / "trained_phi"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """`serve` on a port of its own; stopped at the end of a `with`."""

    def __init__(self, binaries, *arguments, model=MODEL, wait=True, stderr=subprocess.DEVNULL):
        self.port = free_port()
        self.log = []
        self.process = subprocess.Popen(
            [os.path.join(binaries, "serve"), str(model), "--port", str(self.port), "--device", "cpu", "--threads", "1",
             *arguments], stdout=subprocess.PIPE, stderr=stderr, text=True)
        if wait:
            line = self.process.stdout.readline()
            if not line.startswith("serving "):
                raise RuntimeError(f"serve did not start: {line!r}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()
        self.process.stdout.close()

    def stop(self, seconds=60):
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        self.process.stdout.close()
        return self.process.wait(seconds)

    def connect(self, timeout=60):
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def raw(self, request, timeout=60):
        """Bytes as they are; whatever comes back until the server closes."""
        with self.connect(timeout) as connection:
            try:
                connection.sendall(request)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before all was sent
            return read_all(connection)

    def call(self, method, path, body=None, headers=None, timeout=120):
        """(status, headers, body): JSON where it is such."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close"]
        if body is not None:
            lines += [f"Content-Length: {len(data)}"]
            if "Content-Type" not in (headers or {}):
                lines += ["Content-Type: application/json"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        return parse(self.raw(("\r\n".join(lines) + "\r\n\r\n").encode() + data, timeout))

    def get(self, path, **more):
        return self.call("GET", path, **more)

    def post(self, path, body, **more):
        return self.call("POST", path, body, **more)

    def events(self, path, body):
        """The data of a stream's events, without [DONE], which has to be there."""
        status, headers, text = self.post(path, {**body, "stream": True})
        assert status == 200, text
        assert headers["content-type"] == "text/event-stream", headers
        blocks = text.split("\n\n")
        assert blocks[-2:] == ["data: [DONE]", ""], blocks[-2:]
        assert all(block.startswith("data: ") for block in blocks[:-1])
        return [json.loads(block[6:]) for block in blocks[:-2]]


def read_all(connection):
    data = b""
    while True:
        try:
            more = connection.recv(65536)
        except ConnectionResetError:
            return data
        if not more:
            return data
        data += more


def unchunk(data):
    whole = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        count = int(size, 16)
        if count == 0:
            return whole
        whole, data = whole + data[:count], data[count + 2:]
    raise AssertionError("a chunked answer without an end")


def parse(data):
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    if headers.get("transfer-encoding") == "chunked":
        body = unchunk(body)
    text = body.decode()
    is_json = headers.get("content-type", "").startswith("application/json")
    return int(first.split()[1]), headers, json.loads(text) if is_json else text


def generate(binaries, prompt, *arguments, model=MODEL):
    """What the program `generate` writes after the prompt."""
    out = subprocess.run([os.path.join(binaries, "generate"), str(model), "--prompt", prompt, "--device", "cpu",
                          "--threads", "1", "--quiet", *arguments], capture_output=True, check=True).stdout.decode()
    assert out.startswith(prompt) and out.endswith("\n")
    return out[len(prompt):-1]


def wait_until(condition, seconds=30):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.02)
    return False
