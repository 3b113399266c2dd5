"""What a server saves on prompts with one beginning; nothing beside Python's own library.

    python3 prefix.py --port 8080 --requests 100 --tokens 1500

Sends requests one after the other, each with the same system prompt and a question of its own, and prints what
/metrics counts meanwhile as one JSON object: run it on a server with --prefix-cache and on one without.
"""

import argparse
import json
import random
import time
import urllib.request

WORDS = ("always answer in short clear sentences and never say more than the user of this service asked for because people "
         "who read the text have little time use plain words name numbers with their units").split()


def call(port, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as answer:
        return answer.read().decode()


def metrics(port):
    lines = [line.split() for line in call(port, "/metrics").splitlines() if not line.startswith("#")]
    return {name.removeprefix("libslice_"): float(value) for name, value in lines if "{" not in name}


def system_prompt(port, tokens):
    """A text of so many tokens, or a few more."""
    chance, text = random.Random(0), "You are a careful assistant."
    while json.loads(call(port, "/tokenize", {"prompt": text}))["count"] < tokens:
        text += " " + " ".join(chance.choice(WORDS) for _ in range(10)).capitalize() + "."
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=1500, help="of the system prompt")
    parser.add_argument("--max-tokens", type=int, default=4)
    options = parser.parse_args()
    system = system_prompt(options.port, options.tokens)
    before, begin = metrics(options.port), time.monotonic()
    for number in range(options.requests):
        call(options.port, "/v1/completions", {
            "prompt": f"{system}\nUser: What is {number} and {number * 7 % 31} together?\nAssistant:",
            "max_tokens": options.max_tokens, "temperature": 0, "ignore_eos": True})
    seconds, after = time.monotonic() - begin, metrics(options.port)
    names = ("prompt_seconds_total", "prompt_tokens_total", "prompt_tokens_cached_total", "prefix_cache_hits_total",
             "generation_seconds_total")
    print(json.dumps({"requests": options.requests, "seconds": round(seconds, 3),
                      **{name: round(after[name] - before[name], 3) for name in names}}))


if __name__ == "__main__":
    main()
