"""A server under load for long: is any text wrong, any request stuck, anything left behind, does memory grow?

    python3 soak.py BIN MODEL SECONDS [--device cuda] [LOAD'S ARGUMENTS ...]     BIN has serve and generate

Starts `serve` on MODEL in float32, with 8 slots, where every text is that of `generate`; lets load.py be its clients
(32 of them); looks at the server's memory, descriptors, threads and, on a GPU, at its memory, from outside. At the end
no request may be left and no descriptor, threads are no more than connections were open, and SIGTERM ends it with 0.

Prints one JSON object, load.py's and what was seen. Exit code 1 where anything of that is not so.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

LOAD = pathlib.Path(__file__).resolve().parent / "load.py"
CLIENTS = 32


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", type=pathlib.Path)
    parser.add_argument("model")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--port", type=int, default=18080)
    parser.add_argument("--every", type=float, default=10, help="seconds between two looks")
    return parser.parse_known_args()


def gauges(port):
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60).read().decode()
    return {name: float(value) for name, value in re.findall(r"^libslice_([a-z_]+) ([0-9.e+]+)$", text, re.M)}


def gpu_memory():
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    return int(subprocess.run(query, capture_output=True, check=True, text=True).stdout.split()[0])


def look(process, device):
    folder = pathlib.Path(f"/proc/{process.pid}")
    status = dict(re.findall(r"^(VmRSS|VmHWM|Threads):\s*(\d+)", (folder / "status").read_text(), re.M))
    seen = {"seconds": round(time.monotonic(), 1), "memory": int(status["VmRSS"]) * 1024,
            "descriptors": len(os.listdir(folder / "fd")), "threads": int(status["Threads"])}
    if device != "cpu":
        seen["gpu_mib"] = gpu_memory()
    return seen


def idle(port, process, device, start, seconds=30):
    """Whether no request, descriptor or thread is left; connections of clients who vanished have their time to end."""
    threads = start["threads"] + CLIENTS + 2  # of connections, which are kept; that of a client who vanished may overlap
    until = time.monotonic() + seconds
    while True:
        now, seen = gauges(port), look(process, device)
        if now["num_requests_running"] == now["num_requests_waiting"] == 0 and (
                seen["descriptors"] <= start["descriptors"] and seen["threads"] <= threads):
            return True, now, seen
        if time.monotonic() > until:
            return False, now, seen
        time.sleep(0.5)


def main():
    options, more = arguments()
    cpu = ["--threads", "1"] if options.device == "cpu" else []
    server = subprocess.Popen([options.binaries / "serve", options.model, "--port", str(options.port), "--device", options.device,
                               *cpu, "--dtype", "fp32", "--slots", "8", "--quiet"], stdout=subprocess.PIPE, text=True)
    if not server.stdout.readline().startswith("serving "):
        raise SystemExit("serve did not start")
    gauges(options.port)  # a first connection
    time.sleep(1)
    looks = [look(server, options.device)]
    load = subprocess.Popen(
        [sys.executable, LOAD, "--port", str(options.port), "--requests", "100000000", "--seconds", str(options.seconds),
         "--clients", str(CLIENTS), "--generate", options.binaries / "generate", "--checkpoint", options.model, "--generate-arguments",
         " ".join(["--device", options.device, "--dtype", "fp32", *cpu]), *more], stdout=subprocess.PIPE, text=True)
    answer = None
    while answer is None:
        try:
            answer = load.communicate(timeout=options.every)[0]
        except subprocess.TimeoutExpired:
            if server.poll() is not None:
                break
            looks.append(look(server, options.device))
    if server.poll() is not None:
        load.kill()
        raise SystemExit(f"serve ended with {server.returncode}")
    left_nothing, metrics, last = idle(options.port, server, options.device, looks[0])
    server.send_signal(signal.SIGTERM)
    code = server.wait(120)

    result = json.loads(answer)
    quarter = looks[len(looks) // 4]
    first = looks[0]["seconds"]
    for seen in [*looks, last]:
        seen["seconds"] = round(seen["seconds"] - first, 1)
    result["server"] = {
        "left_nothing": left_nothing, "exit_code": code, "start": looks[0], "after_a_quarter": quarter, "at_the_end": last,
        "most": {name: max(seen[name] for seen in looks) for name in looks[0] if name != "seconds"},
        "memory_growth_after_a_quarter": round(last["memory"] / quarter["memory"] - 1, 4),
        "tokens": metrics["generation_tokens_total"], "refused_by_the_queue": metrics["requests_refused_total"]}
    print(json.dumps(result, indent=1, ensure_ascii=False))
    wrong = load.returncode != 0 or not left_nothing or code != 0
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
