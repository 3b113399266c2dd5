"""Runs every block of README.md and docs/ that can run here, on tiny models in a temporary directory.

    python3 docs_test.py BUILD          BUILD is a directory of CMake with the programs in bin/

A document's blocks run in their order in one directory, as a reader types them. What stands in for what is PLACES of
blocks.py and the files below; what does not run is printed with the reason.
"""

import contextlib
import importlib.util
import json
import lzma
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

from blocks import LANGUAGES, ROOT, blocks, blocks_of, documents, with_places

LIMIT = 240  # seconds a block

# Files that documents name, all tiny: a model of the tests with a chat template, and text from the documents.
GGUF_FILES = [".deps/model/SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2-135M-Instruct.Q4_1.gguf"]
TEXT_FILES = ["prose.txt", "code.txt", "test.txt", ".deps/demo/developers-reference.txt"]
COMPRESSED_FILES = ["texts/alpaca.txt.xz", "texts/alpaca_train.txt.xz"]
MODELS = ["model", "healed"]  # the second is what a script makes that is not run

# Commands that are not run, and why; the rest of the block is.
SKIPPED = {
    "make": "builds what this test tests",
    "cmake": "builds what this test tests",
    "cmake/bootstrap.sh": "sets up the machine",
    "pip": "needs the network",
    "git": "needs the network",
    "vllm": "another tool",
    "lm_eval": "another tool",
    "llama-cli": "another tool",
    "llama-server": "another tool",
    "llama-quantize": "another tool",
    "tests/fuzz/run.sh": "takes minutes, and clang with libFuzzer",
}
SCRIPTS = {"benchmarks/": "a benchmark, with packages or data of its own"}  # of python3
# torchrun starts processes with these variables; the test does the same.
PRELUDE = r"""
set -euo pipefail
say_skipped() { printf 'SKIPPED\t%s\t%s\n' "$1" "$2" >&3; }
if ! command -v curl >/dev/null; then curl() { say_skipped "curl $*" "not installed"; }; fi
serve() {
  if ! type -P serve >/dev/null; then
    say_skipped "serve $*" "not built: no cpp-httplib"
    curl() { say_skipped "curl $*" "no server"; }
    return
  fi
  command serve "$@" >serve.out 2>&1 &
  server=$!
  for _ in $(seq 300); do
    if grep -q '^serving' serve.out; then return; fi
    kill -0 $server 2>/dev/null || break
    sleep 0.1
  done
  cat serve.out >&2
  return 1
}
torchrun() {
  local count=1 ranks=() rank
  while [[ $1 == --* ]]; do
    if [[ $1 == --nproc-per-node=* ]]; then count=${1#*=}; fi
    shift
  done
  for ((rank = 0; rank < count; ++rank)); do
    RANK=$rank LOCAL_RANK=$rank WORLD_SIZE=$count MASTER_ADDR=127.0.0.1 MASTER_PORT={port} "$@" 2>>torchrun.err &
    ranks+=($!)
  done
  for rank in "${ranks[@]}"; do
    if wait "$rank"; then continue; fi
    if grep -q "without Gloo's headers" torchrun.err; then say_skipped "torchrun $*" "no Gloo"; return; fi
    cat torchrun.err >&2
    return 1
  done
}
trap 'kill ${server:-} 2>/dev/null || true' EXIT
"""


def prelude(port):
    functions = [f"{name}() {{ say_skipped \"{name} $*\" \"{why}\"; }}" for name, why in SKIPPED.items()]
    scripts = "\n".join(f"    {start}*) say_skipped \"python3 $*\" \"{why}\"; return ;;" for start, why in
                        SCRIPTS.items())
    python = f'python3() {{\n  case ${{1:-}} in\n{scripts}\n  esac\n  command python3 "$@"\n}}'
    return PRELUDE.replace("{port}", str(port)) + "\n".join([*functions, python]) + "\n"


def free_port():
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Workshop:
    """A directory like the reader's."""

    def __init__(self, path, build):
        self.path, self.build = path, build
        self.bin = build / "bin"
        model = path / MODELS[0]
        shutil.copytree(ROOT / "tests/data/trained_phi", model)
        settings = json.loads((model / "tokenizer_config.json").read_text())
        settings["chat_template"] = ("{% for message in messages %}{{ message.content }}\n{% endfor %}")
        (model / "tokenizer_config.json").write_text(json.dumps(settings))
        text = (ROOT / "docs/architecture.md").read_text().encode("ascii", "ignore").decode()[:8000]
        for name in TEXT_FILES:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text(text)
        for name in COMPRESSED_FILES:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(lzma.compress(text.encode()))
        for name in MODELS[1:]:
            shutil.copytree(model, path / name)
        for name in GGUF_FILES:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            subprocess.run([self.bin / "write_gguf", model, path / name, "--gguf-type", "q8_0", "--quiet"], check=True)
        for preset in ("cpu", "cuda"):
            (path / "build" / preset).mkdir(parents=True)
            (path / "build" / preset / "bin").symlink_to(self.bin)
        (path / "zero-shot").mkdir()
        question = {"goal": "To read a file", "sol1": "open it", "sol2": "close it", "label": 0}
        (path / "zero-shot/piqa.jsonl").write_text(json.dumps(question) + "\n")
        for name in ("tests", "examples", "benchmarks"):
            (path / name).symlink_to(ROOT / name)

    def run(self, arguments, timeout=LIMIT, **options):
        environment = {**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
        with subprocess.Popen(arguments, cwd=self.path, env=environment, stdin=subprocess.DEVNULL, text=True,
                              errors="replace", start_new_session=True, **options) as process:
            try:
                process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"took more than {timeout} s") from None
            finally:  # what the block left running
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            return process.returncode


def run_shell(block, shop):
    port = free_port()
    text = with_places(block.text).replace("8080", str(port))
    output, log = shop.path / "output.txt", shop.path / "skipped.txt"
    log.write_text("")
    script = f"exec 3>>{log}\n" + prelude(port) + text
    with open(output, "w") as out:
        code = shop.run(["bash", "-c", script], stdout=out, stderr=subprocess.STDOUT)
    said = output.read_text()
    skipped = [line.split("\t")[1:] for line in log.read_text().splitlines()]
    assert code == 0, f"exit code {code}: {said.strip()[-600:]}"
    return skipped


def run_python(block, shop):
    lacking = [name for name in re.findall(r"^(?:import|from) (\w+)", block.text, re.M)
               if importlib.util.find_spec(name) is None]
    if lacking:
        return [[block.text.split("\n")[0] + " …", "these packages are not installed: " + ", ".join(lacking)]]
    with open(shop.path / "output.txt", "w") as out:
        code = shop.run([sys.executable, "-c", block.text], stdout=out, stderr=subprocess.STDOUT)
    assert code == 0, (shop.path / "output.txt").read_text()[-600:]
    return []


def run_cpp(block, shop):
    """Compiled already; a program is run too."""
    if "int main(" not in block.text:
        return []
    number = next(i for i, other in enumerate(blocks("cpp")) if str(other) == str(block))
    with open(shop.path / "output.txt", "w") as out:
        code = shop.run([shop.bin / "docs_blocks", str(number)], stdout=out, stderr=subprocess.STDOUT)
    assert code == 0, (shop.path / "output.txt").read_text()[-600:]
    return []


def run_cmake(block, shop):
    """In a project of its own, against the installed library: configured, not built."""
    project = shop.path / "project"
    project.mkdir(exist_ok=True)
    (project / "main.cpp").write_text("int main() {}\n")
    (project / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.25)\nproject(app CXX)\nadd_executable(app main.cpp)\n{block.text}")
    cache = (shop.build / "CMakeCache.txt").read_text()
    torch = re.search(r"^LIBSLICE_TORCH_INCLUDE_DIR:PATH=(.*)/include$", cache, re.M)[1]
    with open(shop.path / "output.txt", "w") as out:
        code = shop.run(["cmake", "--install", shop.build, "--prefix", shop.path / "prefix"], stdout=out,
                        stderr=subprocess.STDOUT)
        code = code or shop.run(["cmake", "-S", project, "-B", project / "build",
                                 f"-DCMAKE_PREFIX_PATH={shop.path / 'prefix'};{torch}"], stdout=out,
                                stderr=subprocess.STDOUT)
    assert code == 0, (shop.path / "output.txt").read_text()[-900:]
    return []


RUN = {"sh": run_shell, "python": run_python, "cpp": run_cpp, "cmake": run_cmake}


def run_blocks(build, wanted):
    failures = []
    for document in documents():
        found = blocks_of(document)
        if not found or wanted and document not in wanted:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            shop = Workshop(pathlib.Path(scratch), build)
            for block in found:
                if block.language not in LANGUAGES:
                    failures.append(f"{block}: want one of {', '.join(sorted(LANGUAGES))} after its ```")
                    continue
                if block.language == "text":
                    continue
                if block.skip:
                    print(f"{block}: skipped: {block.skip}", flush=True)
                    continue
                try:
                    skipped = RUN[block.language](block, shop)
                except (AssertionError, OSError) as error:
                    failures.append(f"{block}: {error}")
                    print(f"{block}: FAILED", flush=True)
                    continue
                print(f"{block}: ran", flush=True)
                for command, why in skipped:
                    print(f"    skipped: {command}: {why}", flush=True)
    return failures


def main():
    build, wanted = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:]
    failures = run_blocks(build, wanted)
    sys.exit("\n".join([f"{len(failures)} failed:", *failures]) if failures else 0)


if __name__ == "__main__":
    main()
