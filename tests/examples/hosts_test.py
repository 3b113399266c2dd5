"""Processes on two hosts work together: two network namespaces of this machine, a cable between them, Gloo over it.

    python3 hosts_test.py BIN     BIN has generate, evaluate, slice_model and inspect

77 where no namespaces can be made, or libslice was built without Gloo. Nothing of them outlives this program.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

BINARY = pathlib.Path(sys.argv[1])
MODEL = pathlib.Path(__file__).resolve().parents[1] / "data" / "trained_phi"
UNSHARE = ["unshare", "--user", "--map-root-user", "--net"]
WORDS = "the of and to in a is that for it as was with be by on not he his but at are this have".split()


def run(*command):
    subprocess.run(command, check=True)


class Hosts:
    """This namespace is the first host; the second one is that of a process that sleeps."""

    def __enter__(self):
        self.second = subprocess.Popen(["unshare", "--net", "sleep", "1000"])
        own = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{self.second.pid}/ns/net") == own:
            time.sleep(0.01)
        run("ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", str(self.second.pid))
        for host in (0, 1):
            run(*self.on(host), "ip", "address", "add", f"10.1.1.{host + 1}/24", "dev", "wire")
            for link in ("lo", "wire"):
                run(*self.on(host), "ip", "link", "set", link, "up")
        return self

    def __exit__(self, *_):
        self.second.kill()
        self.second.wait()

    def on(self, host):
        return ["nsenter", f"--net=/proc/{self.second.pid}/ns/net"] if host == 1 else []

    def start(self, *command):
        """A process a host, with what torchrun would set."""
        return [subprocess.Popen([*self.on(host), *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                 env={**os.environ, "WORLD_SIZE": "2", "RANK": str(host), "LOCAL_RANK": "0",
                                      "MASTER_ADDR": "10.1.1.1", "MASTER_PORT": "29500", "GLOO_SOCKET_IFNAME": "wire"})
                for host in (0, 1)]

    def run(self, *command):
        """What the first one writes."""
        processes = self.start(*command)
        results = [process.communicate(timeout=120) for process in processes]
        if any("without Gloo's headers" in errors for _, errors in results):
            sys.exit(77)
        codes = [process.returncode for process in processes]
        assert codes == [0, 0], (codes, results)
        assert results[1][0] == "", results[1]
        return results[0][0]


def generate(hosts):
    command = [BINARY / "generate", MODEL, "--prompt", "the of and", "--max-tokens", "40", "--device", "cpu", "--threads", "1"]
    for sampling in ([], ["--temperature", "0.8", "--seed", "3"]):
        alone = subprocess.run([*command, *sampling], check=True, capture_output=True, text=True).stdout
        for division in ("auto", "tensor", "pipeline"):
            assert hosts.run(*command, *sampling, "--parallel", division) == alone, division


def evaluate(hosts, work):
    command = [BINARY / "evaluate", MODEL, "--perplexity", work / "text.txt", "--context", "32", "--windows", "17", "--device", "cpu",
               "--threads", "1", "--json"]
    alone = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    for division in ("auto", "tensor", "pipeline"):
        shared = json.loads(hosts.run(*command, "--parallel", division))
        apart = abs(shared["perplexity"] / alone["perplexity"] - 1)
        assert apart <= (0 if division == "auto" else 1e-5), (division, apart)  # sums of float32 in another order
        assert shared.keys() == alone.keys() and shared["tokens_scored"] == alone["tokens_scored"], (shared, alone)


def slice_model(hosts, work):
    command = [BINARY / "slice_model", MODEL, "--calibration", work / "text.txt", "--slice", "0.25", "--round", "2",
               "--context", "32", "--samples", "17", "--device", "cpu", "--threads", "1", "--out", work / "sliced"]
    hosts.run(*command)
    report = json.loads((work / "sliced" / "slice_report.json").read_text())
    assert report["calibration"]["sequences"] == 17, report["calibration"]
    run(BINARY / "inspect", work / "sliced")


def killed(hosts):
    first, second = hosts.start(BINARY / "generate", MODEL, "--prompt", "the of and", "--max-tokens", "100000", "--device", "cpu",
                                "--threads", "1", "--parallel", "pipeline")
    first.stdout.read(200)  # it writes
    begin = time.monotonic()
    second.kill()
    second.wait()
    first.stdout.read()
    error = first.stderr.read()
    assert first.wait() == 1 and "lost contact with another rank" in error, error
    assert time.monotonic() - begin < 2, time.monotonic() - begin


def main():
    if os.environ.get("HOSTS_TEST") != "inside":
        if subprocess.run([*UNSHARE, "ip", "link", "set", "lo", "up"], capture_output=True).returncode != 0:
            sys.exit(77)
        os.environ["HOSTS_TEST"] = "inside"
        os.execvp(UNSHARE[0], [*UNSHARE, sys.executable, "-B", *sys.argv])
    with Hosts() as hosts, tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        (work / "text.txt").write_text(" ".join(WORDS[i * i % 23 % len(WORDS)] for i in range(6000)))
        generate(hosts)
        evaluate(hosts, work)
        slice_model(hosts, work)
        killed(hosts)


main()
