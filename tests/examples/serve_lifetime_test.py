"""How the server begins and ends: 503 while it loads, loads that fail, signals, clients that dawdle.

    python3 serve_lifetime_test.py BIN [NAME …]          BIN has serve
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "serve"))
from server import MODEL, Server, parse, read_all, unchunk, wait_until  # noqa: E402

BINARIES = sys.argv.pop(1) if len(sys.argv) > 1 else "build/cpu/bin"
PROMPT = "The history of the"
LONG = {"prompt": PROMPT, "max_tokens": 240, "temperature": 1, "ignore_eos": True, "seed": 3}
LARGE = {**LONG, "n": 16, "logprobs": 100, "stream": True}  # 11 MB, more than sockets hold
SLOW_LOAD = ("--slots", "1024")  # its first run takes seconds


def send(server, body):
    """A request of which nothing is read yet."""
    data = json.dumps(body).encode()
    connection = server.connect()
    connection.sendall(b"POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\nConnection: close\r\n"
                       b"Content-Length: %d\r\n\r\n" % len(data) + data)
    return connection


def send_half(server):
    """The first part of a body that does not go on."""
    connection = server.connect()
    connection.sendall(b"POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{")
    return connection


def listens(server):
    try:
        server.connect().close()
        return True
    except ConnectionRefusedError:
        return False


def is_writing(server):
    return "libslice_num_requests_running 0" not in server.get("/metrics")[2]


class Starts(unittest.TestCase):
    def test_every_path_answers_503_until_the_model_is_there(self):
        paths = {"/health": None, "/v1/models": None, "/metrics": None, "/tokenizer_info": None,
                 "/v1/completions": {"prompt": PROMPT}, "/v1/chat/completions": {"messages": []},
                 "/tokenize": {"prompt": PROMPT}, "/detokenize": {"tokens": [1]}}
        with Server(BINARIES, *SLOW_LOAD, "--api-key", "key", wait=False) as server:
            self.assertTrue(wait_until(lambda: listens(server)))
            for path, body in paths.items():
                call = "GET" if body is None else "POST"
                status, headers, answer = server.call(call, path, body, headers={"Authorization": "Bearer key"})
                self.assertEqual((status, answer["error"]["code"]), (503, "loading"), path)
                self.assertEqual(answer["error"]["type"], "service_unavailable_error")
                self.assertGreater(int(headers["retry-after"]), 0)
                if path != "/health":
                    self.assertEqual(server.call(call, path, body)[0], 401, path)
            self.assertEqual(server.get("/health")[0], 503)
            self.assertEqual(server.get("/v1/nothing")[0], 404)
            self.assertTrue(wait_until(lambda: server.get("/health")[0] == 200, 120))
            self.assertTrue(server.process.stdout.readline().startswith("serving "))
            self.assertEqual(server.stop(), 0)

    def test_a_signal_ends_it_while_it_loads(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with Server(BINARIES, *SLOW_LOAD, wait=False) as server:
                self.assertTrue(wait_until(lambda: listens(server)))
                half = send_half(server)
                self.assertEqual(server.get("/health")[0], 503)
                server.process.send_signal(number)
                self.assertEqual(server.process.wait(5), 130)
                self.assertFalse(listens(server))
                half.close()

    def test_a_load_that_fails_ends_it_at_once_whoever_is_connected(self):
        with tempfile.TemporaryDirectory() as directory:
            model = pathlib.Path(directory) / "broken"
            shutil.copytree(MODEL, model)
            vocabulary = ",".join(f'"token {i}": {i}' for i in range(300_000))
            (model / "tokenizer.json").write_text('{"model": {"type": "BPE", "vocab": {%s}, ' % vocabulary)
            with Server(BINARIES, model=model, wait=False, stderr=subprocess.PIPE) as server:
                self.assertTrue(wait_until(lambda: listens(server)))
                half, idle = send_half(server), server.connect()
                self.assertEqual(server.process.wait(25), 1)  # what the client has left to send its body is more
                message = server.process.stderr.read().splitlines()[-1]
                self.assertTrue(message.startswith("serve: ") and "tokenizer.json" in message, message)
                self.assertEqual(server.process.stdout.read(), "")
                for connection in (half, idle):
                    connection.close()
                server.process.stderr.close()

    def test_a_port_that_is_taken_is_refused(self):
        with Server(BINARIES) as server:
            second = subprocess.run([os.path.join(BINARIES, "serve"), str(MODEL), "--port", str(server.port), "--device", "cpu"],
                                    capture_output=True, text=True, timeout=60)
            self.assertEqual(second.returncode, 1)
            self.assertIn("is the port taken?", second.stderr)
            self.assertEqual(server.get("/health")[0], 200)

    def test_bad_usage(self):
        for arguments in (["--port", "70000"], ["--api-key-file", "/no/such/file"], ["--slots", "0"]):
            run = subprocess.run([os.path.join(BINARIES, "serve"), str(MODEL), *arguments], capture_output=True)
            self.assertEqual(run.returncode, 2, arguments)
        missing = subprocess.run([os.path.join(BINARIES, "serve"), "/no/model", "--port", "0"], capture_output=True,
                                 timeout=60)
        self.assertEqual(missing.returncode, 1)
        self.assertIn(b"/no/model", missing.stderr)


class Stops(unittest.TestCase):
    def test_running_texts_end_and_new_ones_are_refused(self):
        with Server(BINARIES, "--slots", "2") as server:
            body = {**LONG, "max_tokens": 200, "n": 8}
            answers = []
            worker = threading.Thread(target=lambda: answers.append(server.post("/v1/completions", body)))
            worker.start()
            time.sleep(0.3)
            server.process.terminate()
            time.sleep(0.1)
            try:
                status, headers, answer = server.post("/v1/completions", body)
                self.assertEqual((status, answer["error"]["code"]), (503, "stopping"))
                self.assertIn("retry-after", headers)
            except (ConnectionRefusedError, ConnectionResetError):
                pass  # it had ended already
            worker.join()
            self.assertEqual(server.process.wait(60), 0)
            status, _, answer = answers[0]
            self.assertEqual(status, 200)
            self.assertEqual([choice["finish_reason"] for choice in answer["choices"]], ["length"] * 8)

    def test_a_stream_that_is_read_slowly_comes_whole_after_a_signal(self):
        with Server(BINARIES, "--slots", "16") as server:
            connection = send(server, LARGE)
            begun = connection.recv(1000)
            server.process.terminate()
            self.assertTrue(wait_until(lambda: not is_writing(server), 120))
            _, _, body = (begun + read_all(connection)).partition(b"\r\n\r\n")
            connection.close()
            blocks = unchunk(body).decode().split("\n\n")
            self.assertEqual(blocks[-2:], ["data: [DONE]", ""])
            ends = [c["finish_reason"] for block in blocks[:-2] for c in json.loads(block[6:])["choices"]]
            self.assertEqual(ends.count("length"), 16)
            self.assertEqual(server.process.wait(30), 0)

    def test_clients_that_dawdle_do_not_keep_it_from_ending(self):
        with Server(BINARIES, "--slots", "16", "--send-timeout", "2") as server:
            reader, half, idle = send(server, LARGE), send_half(server), server.connect()
            self.assertTrue(wait_until(lambda: is_writing(server)))
            ended = threading.Event()

            def dawdle():
                while not ended.wait(0.5):
                    reader.recv(1000)

            dawdler = threading.Thread(target=dawdle)
            dawdler.start()
            server.process.terminate()
            begin = time.monotonic()
            self.assertEqual(server.process.wait(60), 0)
            self.assertLess(time.monotonic() - begin, 30)
            ended.set()
            dawdler.join()
            self.assertEqual(parse(read_all(half))[0], 503)
            for connection in (reader, half, idle):
                connection.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
