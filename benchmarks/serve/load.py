"""Load on a server of OpenAI's API, every text of it checked; nothing beside Python's own library.

    python3 load.py --port 8080 --requests 10000 --clients 32 --generate build/cpu/bin/generate --checkpoint MODEL

Each client draws a request at random from a set of distinct ones (prompts, lengths, temperatures, seeds, stop
strings), and how it behaves: it streams, waits for the whole, leaves in the middle, vanishes, reads slowly, or sends
what is no request. Every text is compared with that of the program `generate` with the same seed; of one who left,
what came must be a beginning of it. Without --generate texts that are greedy or seeded are compared among
themselves, so that any other server (llama.cpp's) can be measured with the same requests.

A half type rounds differently in other batches: with --bound a greedy text may part from generate's where the
model has its two candidates within so many logits, which the server is asked for afterwards.

Prints one JSON object. Exit code 1 where a text was wrong, an answer unexpected, or a request stuck.
"""

import argparse
import asyncio
import collections
import concurrent.futures
import functools
import json
import os
import random
import subprocess
import sys
import time

WORDS = ("the history of a small town near river people who lived there for many years in north and south war game "
         "film song music king queen church school first second season career early life it was found that they").split()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--api-key", default="")
    parser.add_argument("--name", help="the model's name, where the server wants one")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="no further request begins after them")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--pause", type=float, default=0.02, help="seconds between a client's requests, on average")
    parser.add_argument("--distinct", type=int, default=40, help="different requests")
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("--prompt-words", type=int, default=60)
    parser.add_argument("--malformed", type=float, default=0.05, help="share of requests")
    parser.add_argument("--vanish", type=float, default=0.05)
    parser.add_argument("--leave", type=float, default=0.05)
    parser.add_argument("--slow", type=float, default=0.01)
    parser.add_argument("--plain", type=float, default=0.15)
    parser.add_argument("--timeout", type=float, default=300, help="seconds after which a request is stuck")
    parser.add_argument("--generate", help="the program, for reference texts")
    parser.add_argument("--generate-arguments", default="--device cpu --threads 1")
    parser.add_argument("--checkpoint", help="the model that it reads")
    parser.add_argument("--greedy", action="store_true", help="no request draws its tokens")
    parser.add_argument("--bound", type=float, help="logits by which roundings may turn the order of two tokens")
    parser.add_argument("--references", help="file of the reference texts: read where it is there, else written")
    parser.add_argument("--pid", type=int, help="of the server, to see its memory grow")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def distinct_requests(options, chance):
    """Requests with their bodies, without the text that is expected."""
    requests = []
    for number in range(options.distinct):
        words = [chance.choice(WORDS) for _ in range(chance.randint(2, options.prompt_words))]
        temperature = 0 if options.greedy else chance.choice([0, 0.7, 1.0])
        requests.append({"prompt": " ".join(words).capitalize(), "max_tokens": chance.randint(1, options.max_tokens),
                         "temperature": temperature, "top_p": chance.choice([1, 0.9]) if temperature else 1,
                         "seed": 1000 + number})
    return requests


def reference(options, body):
    """The text that `generate` writes."""
    command = [options.generate, options.checkpoint, "--prompt", body["prompt"], "--quiet", "--max-tokens",
               str(body["max_tokens"]), "--temperature", str(body["temperature"]), "--top-p", str(body["top_p"]), "--seed",
               str(body["seed"]), *options.generate_arguments.split()]
    text = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    return text[len(body["prompt"]):-1]


def references(options, bodies):
    """The text of every body, none without a program that writes it."""
    if options.references and os.path.exists(options.references):
        with open(options.references) as file:
            return json.load(file)
    with concurrent.futures.ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // 2)) as pool:
        texts = list(pool.map(functools.partial(reference, options) if options.generate else lambda _: None, bodies))
    if options.references:
        with open(options.references, "w") as file:
            json.dump(texts, file)
    return texts


def malformed(chance, good):
    """(bytes of a body, headers more, statuses that are right)"""
    text = json.dumps(good)
    return chance.choice([
        (text[:-5].encode(), "", {400}), (b"[" * 200_000, "", {400}), (b'{"prompt": ' + b"[" * 500 + b"]" * 500 + b"}", "", {400}),
        (b'{"prompt": "\xff\xfe"}', "", {400}), (json.dumps({**good, "max_tokens": "many"}).encode(), "", {400}),
        (json.dumps({**good, "temperature": -3}).encode(), "", {400}), (b'{"prompt": "a", "seed": 1e999}', "", {400}),
        (json.dumps({**good, "prompt": [1] * 2_000_000}).encode(), "", {400}), (b" " * (12 << 20), "", {413, 400}),
        (json.dumps({**good, "logit_bias": {"x": 1}}).encode(), "", {400}), (b"", "", {400}), (b"null", "", {400}),
        (text.encode(), "Content-Encoding: gzip\r\n", {400, 415}), (text.encode(), "Content-Length: 7\r\n", {400}),
        (text.encode(), "Transfer-Encoding: chunked\r\n", {400})])


class Wrong(Exception):
    pass


class Connection:
    """One request over a socket of its own."""

    def __init__(self, options):
        self.options = options

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection(self.options.host, self.options.port, limit=1 << 20)
        return self

    async def __aexit__(self, *_):
        self.writer.close()

    async def send(self, data, path="/v1/completions", more=""):
        key = f"Authorization: Bearer {self.options.api_key}\r\n" if self.options.api_key else ""
        head = (f"POST {path} HTTP/1.1\r\nHost: load\r\nConnection: close\r\nContent-Type: application/json\r\n{key}"
                f"{more}Content-Length: {len(data)}\r\n\r\n")
        try:
            self.writer.write(head.encode() + data)
            await self.writer.drain()
        except ConnectionError:
            pass  # refused before all was sent: the answer says why

    async def head(self):
        """(status, whether the body is chunked)"""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        return int(lines[0].split()[1]), "transfer-encoding: chunked" in lines

    async def body(self, chunked):
        """Pieces of the body as they come."""
        while chunked:
            size = int(await self.reader.readline(), 16)
            data = await self.reader.readexactly(size + 2)
            if size == 0:
                return
            yield data[:-2]
        while not chunked:
            data = await self.reader.read(65536)
            if not data:
                return
            yield data

    async def whole(self, chunked):
        return b"".join([piece async for piece in self.body(chunked)])


class Load:
    def __init__(self, options):
        self.options, self.chance = options, random.Random(options.seed)
        self.bodies = distinct_requests(options, self.chance)
        self.texts = references(options, self.bodies)
        self.counts, self.statuses = collections.Counter(), collections.Counter()
        self.first, self.gaps, self.wrong = [], [], []
        self.parted = collections.Counter()  # (number, text) of greedy texts that are not generate's
        self.largest_gap = 0.0
        self.tokens = self.left = self.done = 0
        self.memory = []

    def expected(self, number, stop):
        text = self.texts[number]
        return text if text is None or stop is None or stop not in text else text[:text.index(stop)]

    def compare(self, number, stop, text, whole):
        if self.texts[number] is None:
            if whole and stop is None:
                self.texts[number] = text
            return
        expected = self.expected(number, stop)
        if text != expected if whole else not expected.startswith(text):
            if self.options.bound is not None and self.bodies[number]["temperature"] == 0:
                self.parted[number, text] += 1
                return
            raise Wrong(f"request {number}, stop {stop!r}: want {expected!r}, got {text!r}")
        self.counts["texts checked"] += 1

    async def stream(self, number, stop, body, kind):
        begin, text, events, last = time.monotonic(), "", 0, None
        async with Connection(self.options) as connection:
            await connection.send(json.dumps({**body, "stream": True, "stream_options": {"include_usage": True}}).encode())
            if kind == "vanish" and self.chance.random() < 0.3:
                return  # before anything came
            status, chunked = await connection.head()
            if status in (429, 503):
                return status
            if status != 200:
                raise Wrong(f"status {status}: {await connection.whole(chunked)}")
            buffer, ended, leave = b"", False, self.chance.randint(1, 20)
            async for piece in connection.body(chunked):
                buffer += piece
                *blocks, buffer = buffer.split(b"\n\n")
                for block in blocks:
                    if block == b"data: [DONE]":
                        ended = True
                        continue
                    event = json.loads(block.removeprefix(b"data: "))
                    if "error" in event:
                        raise Wrong(f"an error in a stream: {event}")
                    for choice in event["choices"]:
                        if choice["text"]:
                            now = time.monotonic()
                            if last is None:
                                self.first.append(now - begin)
                            last = now
                        text += choice["text"]
                    if event.get("usage"):
                        self.tokens += event["usage"]["completion_tokens"]
                    events += 1
                if kind == "slow":
                    await asyncio.sleep(0.05)
                if kind in ("leave", "vanish") and events >= leave:
                    self.compare(number, stop, text, whole=False)
                    return
            if not ended:
                raise Wrong("a stream without an end")
            if last is not None and events > 2:
                self.gaps.append((last - begin - self.first[-1]) / events if kind != "slow" else 0)
            self.compare(number, stop, text, whole=True)

    async def plain(self, number, stop, body):
        async with Connection(self.options) as connection:
            await connection.send(json.dumps(body).encode())
            status, chunked = await connection.head()
            data = await connection.whole(chunked)
            if status in (429, 503):
                return status
            if status != 200:
                raise Wrong(f"status {status}: {data}")
            answer = json.loads(data)
            self.tokens += answer["usage"]["completion_tokens"]
            self.compare(number, stop, answer["choices"][0]["text"], whole=True)

    async def bad(self, body):
        data, more, statuses = malformed(self.chance, body)
        async with Connection(self.options) as connection:
            await connection.send(data, more=more)
            try:
                status, chunked = await connection.head()
                await connection.whole(chunked)
            except (asyncio.IncompleteReadError, ConnectionError):
                self.counts["malformed: connection closed"] += 1
                return
            self.statuses[status] += 1
            if status not in statuses:
                raise Wrong(f"malformed {data[:60]!r} {more!r}: status {status}")

    async def one(self):
        o, draw = self.options, self.chance.random()
        number = self.chance.randrange(len(self.bodies))
        body, stop = dict(self.bodies[number]), None
        if o.name:
            body["model"] = o.name
        text = self.texts[number]
        if text and self.chance.random() < 0.25:
            place = self.chance.randrange(len(text))
            stop = text[place:place + self.chance.randint(1, 4)]
            body["stop"] = [stop]
        kind = "stream"
        for name, share in (("malformed", o.malformed), ("vanish", o.vanish), ("leave", o.leave), ("slow", o.slow),
                            ("plain", o.plain)):
            if draw < share:
                kind = name
                break
            draw -= share
        self.counts[kind] += 1
        if kind == "malformed":
            return await self.bad(body)
        for _ in range(1000):
            status = await (self.plain(number, stop, body) if kind == "plain" else self.stream(number, stop, body, kind))
            if status is None:
                return
            self.statuses[status] += 1
            await asyncio.sleep(0.2 + self.chance.random())

    async def post(self, path, body):
        async with Connection(self.options) as connection:
            await connection.send(json.dumps(body).encode(), path)
            status, chunked = await connection.head()
            data = await connection.whole(chunked)
            if status != 200:
                raise Wrong(f"{path}: status {status}: {data}")
            return json.loads(data)

    async def gap(self, number, text):
        """Logits between the tokens with which a text and generate's part; inf where the model names neither."""
        prompt, other = self.bodies[number]["prompt"], self.texts[number]
        ids = [(await self.post("/tokenize", {"prompt": prompt + t}))["tokens"] for t in (text, other)]
        common = len(os.path.commonprefix(ids))
        answer = await self.post("/v1/completions", {"prompt": ids[0][:common], "max_tokens": 1, "temperature": 0,
                                                     "logprobs": 5})
        best = answer["choices"][0]["logprobs"]["top_logprobs"][0]  # texts of tokens
        ends = [(await self.post("/detokenize", {"tokens": i[common:common + 1]}))["content"] for i in ids]
        two = [best.get(end, float("-inf")) for end in ends if end]  # a text that ended has no further token
        top = sorted(best.values())
        return abs(two[0] - two[1]) if len(two) == 2 else top[-1] - top[-2]

    async def judge(self):
        """Greedy texts that parted from generate's: by a rounding, or wrong."""
        for (number, text), times in self.parted.items():
            gap = await self.gap(number, text)
            self.largest_gap = max(self.largest_gap, gap)
            if gap <= self.options.bound:
                self.counts["texts that roundings part"] += times
            else:
                self.wrong += [f"request {number} parts over {gap} logits: {text!r}"[:600]] * times

    async def client(self):
        while self.left > 0 and time.monotonic() - self.begin < self.options.seconds:
            self.left -= 1
            self.done += 1
            try:
                await asyncio.wait_for(self.one(), self.options.timeout)
            except asyncio.TimeoutError:
                self.counts["stuck"] += 1
            except (Wrong, OSError, asyncio.IncompleteReadError, ValueError, KeyError) as error:
                self.wrong.append(f"{type(error).__name__}: {error}"[:600])
            self.look_at_memory()
            await asyncio.sleep(self.chance.expovariate(1 / self.options.pause) if self.options.pause else 0)

    def look_at_memory(self):
        if self.options.pid and self.done % 50 == 0:
            with open(f"/proc/{self.options.pid}/statm") as file:
                self.memory.append(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"))

    async def run(self):
        self.left = self.options.requests
        self.begin = time.monotonic()
        await asyncio.gather(*(self.client() for _ in range(self.options.clients)))
        seconds = time.monotonic() - self.begin
        await self.judge()
        return seconds


def percentile(values, share):
    return round(sorted(values)[min(len(values) - 1, int(share * len(values)))], 4) if values else None


def main():
    options = arguments()
    load = Load(options)
    seconds = asyncio.run(load.run())
    result = {"requests": load.done, "clients": options.clients, "seconds": round(seconds, 2),
              "requests_per_second": round(load.done / seconds, 2),
              "tokens_per_second": round(load.tokens / seconds, 1),
              "first_token_seconds": {"p50": percentile(load.first, 0.5), "p99": percentile(load.first, 0.99)},
              "token_seconds": {"p50": percentile(load.gaps, 0.5), "p99": percentile(load.gaps, 0.99)},
              "kinds": dict(load.counts), "statuses": {str(k): v for k, v in load.statuses.items()},
              "wrong": len(load.wrong), "examples": load.wrong[:5]}
    if options.bound is not None:
        result["largest_gap"] = load.largest_gap
    if load.memory:
        early = load.memory[len(load.memory) // 4]
        result["memory"] = {"after_a_quarter": early, "at_the_end": load.memory[-1],
                            "growth": round(load.memory[-1] / early - 1, 4)}
    print(json.dumps(result, indent=1, ensure_ascii=False))
    return 1 if load.wrong or load.counts["stuck"] else 0


if __name__ == "__main__":
    sys.exit(main())
