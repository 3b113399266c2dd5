"""The server over a socket, on the CPU with a tiny trained model.

    python3 serve_test.py BIN [NAME …]          BIN has serve and generate
"""

import json
import os
import pathlib
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "serve"))
from server import Server, generate, parse, read_all, wait_until  # noqa: E402

BINARIES = sys.argv.pop(1) if len(sys.argv) > 1 else "build/cpu/bin"
PROMPT = "The history of the"


class WithServer(unittest.TestCase):
    ARGUMENTS = ()

    @classmethod
    def setUpClass(cls):
        cls.server = Server(BINARIES, *cls.ARGUMENTS)

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def complete(self, **body):
        status, _, answer = self.server.post("/v1/completions", {"prompt": PROMPT, **body})
        self.assertEqual(status, 200, answer)
        return answer

    def refused(self, path, body, status=400, param=None, **more):
        got, headers, answer = self.server.post(path, body, **more)
        self.assertEqual(got, status, (body if len(str(body)) < 500 else "", answer))
        self.assertEqual(set(answer), {"error"})
        self.assertEqual(set(answer["error"]), {"message", "type", "param", "code"})
        if param is not None:
            self.assertEqual(answer["error"]["param"], param, answer)
        return answer["error"], headers


class Completions(WithServer):
    def test_a_text_is_that_of_generate_with_the_same_seed(self):
        for temperature, seed in ((0, 0), (0.8, 7), (1, 12345)):
            expected = generate(BINARIES, PROMPT, "--max-tokens", "40", "--temperature", str(temperature), "--top-p",
                                "0.9", "--seed", str(seed))
            body = {"max_tokens": 40, "temperature": temperature, "top_p": 0.9, "seed": seed}
            answer = self.complete(**body)
            choice = answer["choices"][0]
            self.assertEqual(choice["text"], expected)
            self.assertEqual(answer["object"], "text_completion")
            self.assertEqual(answer["model"], "trained_phi")
            self.assertTrue(answer["id"].startswith("cmpl-"))
            self.assertIn(choice["finish_reason"], ("length", "stop"))
            usage = answer["usage"]
            self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"])
            events = self.server.events("/v1/completions", {"prompt": PROMPT, **body,
                                                            "stream_options": {"include_usage": True}})
            self.assertEqual("".join(event["choices"][0]["text"] for event in events[:-1]), expected)
            self.assertEqual(events[-1]["choices"], [])
            self.assertEqual(events[-1]["usage"], usage)
            self.assertTrue(all(event["usage"] is None for event in events[:-1]))
            self.assertEqual(events[-2]["choices"][0]["finish_reason"], choice["finish_reason"])

    def test_prompts_are_texts_ids_or_lists_of_them(self):
        _, _, tokens = self.server.post("/tokenize", {"prompt": PROMPT})
        ids = tokens["tokens"]
        body = {"max_tokens": 8, "temperature": 0}
        alone = self.complete(**body)["choices"][0]["text"]
        self.assertEqual(self.complete(**body, prompt=ids)["choices"][0]["text"], alone)
        several = self.complete(**body, prompt=[ids, PROMPT, ids[:2]], n=2, echo=True)["choices"]
        self.assertEqual([choice["index"] for choice in several], list(range(6)))
        self.assertEqual([choice["text"] for choice in several[:4]], [PROMPT + alone] * 4)
        usage = self.complete(**body, prompt=[PROMPT, PROMPT], n=2, ignore_eos=True)["usage"]
        self.assertEqual((usage["prompt_tokens"], usage["completion_tokens"]), (2 * len(ids), 32))

    def test_n_texts_are_those_of_consecutive_sequences(self):
        texts = [choice["text"] for choice in self.complete(n=3, seed=5, max_tokens=20)["choices"]]
        self.assertEqual(texts[0], self.complete(seed=5, max_tokens=20)["choices"][0]["text"])
        self.assertEqual(len(set(texts)), 3)
        events = self.server.events("/v1/completions", {"prompt": PROMPT, "n": 3, "seed": 5, "max_tokens": 20})
        for index, text in enumerate(texts):
            parts = [c["text"] for e in events for c in e["choices"] if c["index"] == index]
            self.assertEqual("".join(parts), text)

    def test_a_stop_string_ends_a_text_and_is_no_part_of_it(self):
        whole = self.complete(max_tokens=40, temperature=0)["choices"][0]["text"]
        stop = whole[10:13]
        for body in ({"stop": stop}, {"stop": ["\x00never", stop]}):
            choice = self.complete(max_tokens=40, temperature=0, **body)["choices"][0]
            self.assertEqual(choice["text"], whole[:whole.index(stop)])
            self.assertEqual((choice["finish_reason"], choice["stop_reason"]), ("stop", stop))
        events = self.server.events("/v1/completions",
                                    {"prompt": PROMPT, "stop": stop, "temperature": 0, "max_tokens": 40})
        self.assertEqual("".join(e["choices"][0]["text"] for e in events), whole[:whole.index(stop)])

    def test_echo_shows_the_prompt_with_its_log_probabilities(self):
        answer = self.complete(max_tokens=3, temperature=0, logprobs=2, echo=True)["choices"][0]
        _, _, tokens = self.server.post("/tokenize", {"prompt": PROMPT, "return_token_strs": True})
        scores, n = answer["logprobs"], tokens["count"]
        self.assertEqual(scores["tokens"][:n], tokens["token_strs"])
        self.assertEqual("".join(scores["tokens"]), answer["text"])
        self.assertIsNone(scores["token_logprobs"][0])
        self.assertIsNone(scores["top_logprobs"][0])
        self.assertEqual(len(scores["tokens"]), n + 3)
        for token, score, top in list(zip(scores["tokens"], scores["token_logprobs"], scores["top_logprobs"]))[1:]:
            self.assertLess(score, 0)
            self.assertEqual(top[token], score)
            self.assertIn(len(top), (2, 3))
        for place in range(n, n + 3):  # greedy
            self.assertEqual(scores["token_logprobs"][place], max(scores["top_logprobs"][place].values()))
        for offset, token in zip(scores["text_offset"], scores["tokens"]):
            self.assertTrue(answer["text"][offset:].startswith(token))
        prompt_only = self.complete(max_tokens=0, logprobs=2, echo=True)["choices"][0]
        self.assertEqual(prompt_only["text"], PROMPT)
        self.assertEqual(prompt_only["logprobs"]["token_logprobs"], scores["token_logprobs"][:n])
        events = self.server.events("/v1/completions", {"prompt": PROMPT, "max_tokens": 3, "temperature": 0,
                                                        "logprobs": 2, "echo": True})
        self.assertEqual([s for e in events for s in e["choices"][0]["logprobs"]["token_logprobs"]],
                         scores["token_logprobs"])

    def test_rules_change_the_text(self):
        greedy = self.complete(max_tokens=12, temperature=0, logprobs=0)["choices"][0]
        _, _, tokens = self.server.post("/tokenize", {"prompt": greedy["text"]})
        first = tokens["tokens"][0]
        changed = self.complete(max_tokens=12, temperature=0, logit_bias={str(first): -100})["choices"][0]["text"]
        self.assertNotEqual(changed, greedy["text"])
        only = self.complete(max_tokens=3, temperature=1, logit_bias={str(first): 100})["choices"][0]["text"]
        self.assertEqual(only, greedy["logprobs"]["tokens"][0] * 3)
        self.assertEqual(self.complete(max_tokens=12, temperature=1, top_k=1)["choices"][0]["text"], greedy["text"])
        self.assertEqual(self.complete(max_tokens=12, temperature=1, min_p=1)["choices"][0]["text"], greedy["text"])
        for rule in ({"frequency_penalty": 2}, {"presence_penalty": 2}, {"repetition_penalty": 1.5}):
            self.complete(max_tokens=12, temperature=0, **rule)

    def test_errors_name_the_field(self):
        for body, param in [
                ({}, "prompt"), ({"prompt": 1}, "prompt"), ({"prompt": []}, "prompt"), ({"prompt": ""}, "prompt"),
                ({"prompt": [1, "a"]}, "prompt[1]"), ({"prompt": [[1], "a", 2]}, "prompt[2]"),
                ({"prompt": [1.5]}, "prompt[0]"), ({"prompt": [-1]}, "prompt"), ({"prompt": {}}, "prompt"),
                ({"max_tokens": -1}, "max_tokens"), ({"max_tokens": "a"}, "max_tokens"),
                ({"max_tokens": 1e300}, "max_tokens"), ({"max_tokens": 2**70}, "max_tokens"),
                ({"max_tokens": 0}, "max_tokens"), ({"max_tokens": True}, "max_tokens"),
                ({"temperature": -1}, "temperature"), ({"temperature": "hot"}, "temperature"),
                ({"top_p": 0}, "top_p"), ({"top_p": 2}, "top_p"), ({"top_k": 1.5}, "top_k"), ({"min_p": -1}, "min_p"),
                ({"n": 0}, "n"), ({"n": 1000}, "n"), ({"seed": "a"}, "seed"), ({"stop": 1}, "stop"),
                ({"stop": ["a"] * 17}, "stop"), ({"logit_bias": {"x": 1}}, "logit_bias"),
                ({"logit_bias": [1]}, "logit_bias"), ({"logit_bias": {"1": 1000}}, "logit_bias"),
                ({"logprobs": -1}, "logprobs"), ({"logprobs": True}, "logprobs"), ({"echo": 1}, "echo"),
                ({"stream": "yes"}, "stream"), ({"stream_options": {}}, "stream_options"),
                ({"best_of": 4}, "best_of"), ({"suffix": "x"}, "suffix"), ({"presence_penalty": 9}, "presence_penalty"),
                ({"repetition_penalty": 0}, "repetition_penalty"), ({"model": 1}, "model"),
                ({"response_format": {"type": "xml"}}, "response_format.type"),
                ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
                ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"pattern": "a"}}}},
                 "response_format.json_schema")]:
            whole = {"prompt": PROMPT, **body} if body and "prompt" not in body else body
            self.refused("/v1/completions", whole, param=param)
        long, _ = self.refused("/v1/completions", {"prompt": [5] * 256}, param="prompt")
        self.assertEqual(long["code"], "context_length_exceeded")
        self.refused("/v1/completions", {"prompt": [5, 10**6]})
        self.refused("/v1/completions", {"prompt": [5], "logit_bias": {"1000000": 1}})
        error, _ = self.refused("/v1/completions", {"prompt": PROMPT, "model": "other"}, status=404, param="model")
        self.assertEqual(error["code"], "model_not_found")

    def test_a_text_ends_where_its_slot_is_full(self):
        choice = self.complete(prompt=[5] * 250, max_tokens=100, temperature=0, ignore_eos=True)["choices"][0]
        self.assertEqual(choice["finish_reason"], "length")

    def test_bodies_that_are_no_request(self):
        for body in (b"", b"{", b"[]", b"1", b"null", b'{"prompt": "\xff"}', b"\xff\xfe", b'{"prompt": "a"} x',
                     b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", b"[" * 1_000_000, b'{"a": 1e999}',
                     b'{"prompt": "\\ud800"}', b"\x00" * 100):
            self.refused("/v1/completions", body)
        begin = time.monotonic()  # members that are looked for one by one would take hours
        self.refused("/v1/completions", {"prompt": PROMPT, **{f"k{i}": 1 for i in range(500_000)}})
        self.refused("/v1/completions", {"prompt": PROMPT, "logit_bias": {str(i): 1 for i in range(500_000)}})
        self.assertLess(time.monotonic() - begin, 30)
        self.refused("/v1/completions", b"{}", status=415, headers={"Content-Type": "text/plain"})
        self.refused("/v1/completions", b"{}", status=415, headers={"Content-Encoding": "gzip"})

    def test_json_mode_writes_json(self):
        form = {"type": "json_object"}
        for seed in range(4):
            choice = self.complete(max_tokens=200, seed=seed, temperature=1.5, response_format=form)["choices"][0]
            if choice["finish_reason"] == "stop":
                self.assertIsInstance(json.loads(choice["text"]), dict)
        schema = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 8},
                                                   "kind": {"enum": ["a", "b"]}, "n": {"type": "integer"},
                                                   "list": {"type": "array", "items": {"type": "boolean"},
                                                            "maxItems": 3}},
                  "required": ["name", "kind", "list"], "additionalProperties": False}
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        ended = 0
        for seed in range(8):
            choices = self.complete(max_tokens=200, seed=seed, temperature=1.2, n=2, response_format=form)["choices"]
            for choice in choices:
                if choice["finish_reason"] != "stop":
                    continue
                ended += 1
                value = json.loads(choice["text"])
                self.assertLessEqual({"name", "kind", "list"}, set(value))
                self.assertIn(value["kind"], ("a", "b"))
                self.assertLessEqual(len(value["name"]), 8)
        self.assertGreater(ended, 0)
        only = self.complete(max_tokens=50, temperature=0, response_format={
            "type": "json_schema", "json_schema": {"schema": {"const": {"x": [1, "é"]}}}})["choices"][0]
        self.assertEqual(json.loads(only["text"]), {"x": [1, "é"]})
        self.assertEqual(only["finish_reason"], "stop")


class Paths(WithServer):
    ARGUMENTS = ("--name", "tiny/one.two")

    def test_models_health_tokenizer_and_metrics(self):
        status, _, models = self.server.get("/v1/models")
        self.assertEqual((status, models["data"][0]["id"]), (200, "tiny/one.two"))
        self.assertEqual(models["data"][0]["max_model_len"], 256)
        self.assertEqual(self.server.get("/health")[::2], (200, {"status": "ok"}))
        _, _, info = self.server.get("/tokenizer_info")
        self.assertEqual(info["eos_token"], "<|endoftext|>")
        text = "naïve 漢字 😀 <|endoftext|> end"
        _, _, tokens = self.server.post("/tokenize", {"prompt": text, "add_special_tokens": False})
        self.assertEqual(tokens["count"], len(tokens["tokens"]))
        _, _, back = self.server.post("/detokenize", {"tokens": tokens["tokens"]})
        self.assertEqual(back["prompt"], text)
        _, _, content = self.server.post("/tokenize", {"content": text})
        self.assertEqual(content["tokens"], tokens["tokens"])
        for path, body in (("/tokenize", {}), ("/tokenize", {"prompt": 1}), ("/detokenize", {}),
                           ("/detokenize", {"tokens": "a"}), ("/detokenize", {"tokens": [-1]})):
            self.refused(path, body)
        self.server.post("/v1/completions", {"prompt": PROMPT, "max_tokens": 5})
        status, headers, metrics = self.server.get("/metrics")
        self.assertEqual(status, 200)
        self.assertTrue(headers["content-type"].startswith("text/plain; version=0.0.4"))
        values = {}
        for line in metrics.splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                self.assertNotIn(name, values)
                values[name] = float(value)
        self.assertEqual(values["libslice_num_requests_running"], 0)
        self.assertGreaterEqual(values["libslice_generation_tokens_total"], 5)
        self.assertGreaterEqual(values["libslice_time_to_first_token_seconds_count"], 1)
        self.assertGreaterEqual(values['libslice_http_requests_total{path="/v1/completions",status="200"}'], 1)
        self.assertEqual(values['libslice_model_info{model_name="tiny/one.two"}'], 1)

    def test_what_is_no_path_or_no_method(self):
        status, _, answer = self.server.get("/v1/nothing")
        self.assertEqual((status, answer["error"]["code"]), (404, "unknown_path"))
        for method, path in (("GET", "/v1/completions"), ("POST", "/health"), ("DELETE", "/v1/models"),
                             ("PUT", "/tokenize"), ("OPTIONS", "/v1/completions")):
            self.assertEqual(self.server.call(method, path, b"{}")[0], 405, (method, path))
        self.assertEqual(self.server.call("GET", "/" + "x" * 9000)[0], 414)

    def test_what_is_no_http(self):
        for request in (b"\r\n\r\n", b"GET\r\n\r\n", b"\x00" * 3000 + b"\r\n\r\n", b"GET /health HTTP/9.9\r\n\r\n"):
            data = self.server.raw(request)
            if data:
                self.assertGreaterEqual(parse(data)[0], 400)
        post = b"POST /v1/completions HTTP/1.1\r\nConnection: close\r\nContent-Type: application/json\r\n"
        for headers, status in ((b"", 411), (b"Content-Length: -1\r\n", 400), (b"Content-Length: x\r\n", 400),
                                (b"Content-Length: 9999999999999999999999\r\n", 413),
                                (b"Content-Length: 2\r\nContent-Length: 3\r\n", 400),
                                (b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", 400),
                                (b"Transfer-Encoding: gzip\r\n", 400),
                                (b"X: " + b"y" * 100_000 + b"\r\n", 431),
                                (b"Range: bytes=" + b"1-2," * 2000 + b"1-2\r\nContent-Length: 2\r\n", 400),
                                (b"".join(b"X%d: y\r\n" % i for i in range(20_000)), 431)):
            got, _, answer = parse(self.server.raw(post + headers + b"\r\n{}"))
            self.assertEqual(got, status, headers[:80])
            self.assertIn("error", answer)
        chunked = post + b"Transfer-Encoding: chunked\r\n\r\n"
        body = json.dumps({"prompt": PROMPT, "max_tokens": 2}).encode()
        whole = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        self.assertEqual(parse(self.server.raw(chunked + whole))[0], 200)
        self.assertEqual(parse(self.server.raw(chunked + b"zz\r\n"))[0], 400)
        large = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        self.assertEqual(parse(self.server.raw(chunked + large * 9))[0], 413)
        self.assertEqual(self.server.get("/health")[0], 200)

    def test_a_large_body_is_refused_before_it_is_read(self):
        self.refused("/v1/completions", b" " * (9 << 20), status=413)

    def test_a_connection_serves_several_requests(self):
        body = json.dumps({"prompt": PROMPT, "max_tokens": 2, "seed": 1}).encode()
        request = (b"POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n"
                   % (len(body), b"")) + body
        last = request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
        data = self.server.raw(request + request + last)
        self.assertEqual(data.count(b"HTTP/1.1 200 OK"), 3)


class Keys(WithServer):
    @classmethod
    def setUpClass(cls):
        cls.keys = pathlib.Path(os.environ.get("TMPDIR", "/tmp")) / f"keys-{os.getpid()}"
        cls.keys.write_text("second\r\n\nthird key\n")
        cls.server = Server(BINARIES, "--api-key", "first", "--api-key-file", str(cls.keys))
        cls.keys.unlink()

    def test_a_key_is_wanted_everywhere_but_for_health(self):
        self.assertEqual(self.server.get("/health")[0], 200)
        for header in (None, "first", "Bearer", "Bearer ", "Bearer firs", "Bearer firstt", "Bearer First",
                       "bearer first", "Basic first", "Bearer first first"):
            headers = {"Authorization": header} if header else {}
            for path in ("/v1/models", "/metrics", "/tokenizer_info"):
                status, _, answer = self.server.get(path, headers=headers)
                self.assertEqual(status, 401, header)
                self.assertEqual(answer["error"]["code"], "invalid_api_key")
        for key in ("first", "second", "third key"):
            self.assertEqual(self.server.get("/v1/models", headers={"Authorization": "Bearer " + key})[0], 200)


class Limits(WithServer):
    ARGUMENTS = ("--slots", "2", "--queue", "2", "--max-connections", "12", "--receive-timeout", "1",
                 "--send-timeout", "1", "--idle-timeout", "2")
    LONG = {"prompt": PROMPT, "max_tokens": 240, "temperature": 1, "ignore_eos": True, "n": 2, "stream": True}

    def running(self):
        _, _, metrics = self.server.get("/metrics")
        wanted = ("libslice_num_requests_running ", "libslice_num_requests_waiting ")
        return sum(int(float(line.split()[1])) for line in metrics.splitlines() if line.startswith(wanted))

    def start(self, **body):
        """A request of which nothing is read yet."""
        data = json.dumps({**self.LONG, **body}).encode()
        connection = self.server.connect()
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nContent-Type: application/json\r\nConnection: close\r\n"
                           b"Content-Length: %d\r\n\r\n" % len(data) + data)
        return connection

    def test_a_full_queue_is_answered_429(self):
        # All of them are there long before the first one's texts are.
        connections = [self.start(prompt=[PROMPT] * 2, n=8, stream=False) for _ in range(6)]
        statuses = []
        for connection in connections:
            status, headers, answer = parse(read_all(connection))
            connection.close()
            statuses.append(status)
            if status == 429:
                self.assertEqual(headers["retry-after"], "1")
                self.assertEqual(answer["error"]["code"], "queue_full")
        self.assertIn(200, statuses)
        self.assertIn(429, statuses)
        self.assertTrue(wait_until(lambda: self.running() == 0))

    def test_more_prompts_than_may_wait_are_refused(self):
        self.refused("/v1/completions", {"prompt": [PROMPT] * 3}, param="prompt")

    def test_a_client_that_is_gone_costs_nothing(self):
        for body in ({}, {"stream": False}):
            connection = self.start(n=4, **body)
            self.assertTrue(wait_until(lambda: self.running() > 0))
            connection.close()
            self.assertTrue(wait_until(lambda: self.running() == 0, 10))

    def test_slow_senders_and_readers_do_not_stop_others(self):
        slow = [self.server.connect() for _ in range(4)]
        for connection in slow:
            connection.sendall(b"POST /v1/completions HTTP/1.1\r\nContent-")
        reader = self.start()
        begin = time.monotonic()
        self.assertEqual(self.server.post("/v1/completions", {"prompt": PROMPT, "max_tokens": 2})[0], 200)
        self.assertLess(time.monotonic() - begin, 10)
        for connection in slow:
            data = read_all(connection)
            self.assertEqual(parse(data)[0], 408)
            connection.close()
        reader.close()
        idle = self.server.connect()
        self.assertEqual(read_all(idle), b"")  # closed after the idle time
        idle.close()

    def test_connections_past_the_limit_are_answered_503(self):
        held = [self.server.connect() for _ in range(12)]
        time.sleep(0.2)
        status, headers, answer = self.server.get("/health")
        self.assertEqual((status, answer["error"]["code"]), (503, "too_many_connections"))
        self.assertIn("retry-after", headers)
        for connection in held:
            connection.close()
        self.assertTrue(wait_until(lambda: self.server.get("/health")[0] == 200))


if __name__ == "__main__":
    unittest.main(verbosity=2)
