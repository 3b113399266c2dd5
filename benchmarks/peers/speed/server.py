"""Our server and llama.cpp's under the same clients, one after the other on one card.

    python3 server.py --serve BIN/serve --model MODEL.gguf --llama-server LLAMA/llama-server --llama-model F16.gguf \\
        --name smollm2-135m --csv serving.csv

Both hold the same weights in float16 (`llama-quantize --allow-requantize MODEL.gguf F16.gguf F16`), with a slot and a
context of 1024 for each of --clients. benchmarks/serve/load.py sends requests that differ, so that no cache of prompts helps
either: first for --seconds answers that come whole, of which the tokens a second are compared, then streamed ones, of which
the time to the first token. Streaming, the client itself can be what limits.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import time
import urllib.request

import ours

LOAD = pathlib.Path(__file__).resolve().parents[2] / "serve/load.py"
CONTEXT, TOKENS = 1024, 128  # of a slot, of the longest text


def wait_until_ready(process, port, seconds=60):
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"{process.args[0]} is not ready: see its log")


def load(options, port, plain, seed):
    """load.py's result: every answer whole, or every one streamed."""
    command = [sys.executable, LOAD, "--port", port, "--clients", options.clients, "--seconds", options.seconds, "--requests", 100000,
               "--distinct", 4000, "--max-tokens", TOKENS, "--malformed", 0, "--vanish", 0, "--leave", 0, "--slow", 0,
               "--plain", plain, "--pause", 0, "--timeout", 30, "--seed", seed]
    result = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, timeout=options.seconds + 60)
    return json.loads(result.stdout)


def measure(options, command, port, log):
    """(metric → value) of a server that is started for it."""
    with open(log, "w") as file:
        process = subprocess.Popen([str(word) for word in command], stdout=file, stderr=subprocess.STDOUT)
        try:
            wait_until_ready(process, port)
            load(argparse.Namespace(**{**vars(options), "seconds": 2}), port, plain=1, seed=1)  # warms up
            whole, streamed = load(options, port, plain=1, seed=2), load(options, port, plain=0, seed=3)
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
    for result in (whole, streamed):
        print(f"  {pathlib.Path(command[0]).name}: {result['requests']} requests, {result['tokens_per_second']} tokens/s, first token "
              f"{result['first_token_seconds']}, statuses {result['statuses']}, wrong {result['wrong']} {result['examples'][:1]}", flush=True)
    return {"tokens_per_s": whole["tokens_per_second"], "streamed_tokens_per_s": streamed["tokens_per_second"],
            "first_token_p50_ms": 1e3 * streamed["first_token_seconds"]["p50"],
            "first_token_p99_ms": 1e3 * streamed["first_token_seconds"]["p99"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("serve", "model", "llama-server", "llama-model", "name", "csv"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10, help="of a measurement; there are two a server")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--port", type=int, default=18080)
    options = parser.parse_args()
    slots, port, gpu = options.clients, options.port, options.device == "cuda"
    version = subprocess.run([options.llama_server, "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    found = re.search(r"version:?\s*(\S+)", version)
    mine = measure(options, [options.serve, options.model, "--device", options.device, "--dtype", "fp16" if gpu else "fp32", "--port",
                             port, "--slots", slots, "--context", CONTEXT, "--queue", 512, "--max-connections", 256],
                   port, f"{options.csv}.serve.log")
    theirs = measure(options, [options.llama_server, "-m", options.llama_model, "-ngl", 99 if gpu else 0, "-c", slots * CONTEXT, "-np", slots,
                               "-fa", "on", "--cache-ram", 0, "--host", "127.0.0.1", "--port", port + 1, "--no-ui"],
                     port + 1, f"{options.csv}.llama-server.log")
    for metric, value in mine.items():
        ours.rows.append(options.csv, benchmark="serving", model=options.name, form="dense", dtype="float16" if gpu else "float32",
                         batch=slots, length=TOKENS, metric=metric, value=value, unit="ms" if metric.endswith("ms") else "tokens/s",
                         baseline=f"llama.cpp {found[1] if found else ''} server", baseline_value=theirs[metric],
                         ratio=theirs[metric] / value, kind="measured")
        print(f"{metric}: ours {value:.4g}, llama.cpp's {theirs[metric]:.4g} ({theirs[metric] / value:.2f} of ours)")


if __name__ == "__main__":
    main()
