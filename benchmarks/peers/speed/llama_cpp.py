"""llama.cpp's own benchmarks beside bench_decode and bench_prefill, in one run on one card.

    python3 llama_cpp.py BIN MODEL.gguf --ours rows.csv --csv peers.csv      BIN: build_llama_cpp.sh's BUILD/bin

llama-bench decodes one sequence and reads one prompt, with and without its flash attention and in micro-batches of 512
and 2048; llama-batched-bench decodes several sequences, each size three times. The fastest counts.
"""
import argparse
import json
import pathlib
import re
import statistics
import subprocess

import ours

BATCHES = (2, 4, 8, 16, 32, 64, 128)
TIMES = 3  # of a batch: the first also pays for what llama.cpp makes once a size


def run(program, *arguments):
    """What a program printed, its log included."""
    result = subprocess.run([str(program), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"{program}: exit code {result.returncode}: {result.stderr[-2000:]}")
    return result.stdout, result.stderr


def name_of(program):
    """llama.cpp and its version."""
    found = re.search(r"version:?\s*(\S+)", "".join(run(program, "--version")))
    return f"llama.cpp {found[1]}" if found else "llama.cpp"


def one_sequence(program, model, layers):
    text, _ = run(program, "-m", model, "-ngl", layers, "-p", ours.LENGTH, "-n", ours.RUN, "-d", f"0,{ours.PROMPT}", "-b", ours.LENGTH,
                  "-ub", f"512,{ours.LENGTH}", "-fa", "0,1", "-r", 5, "-o", "json")
    times = {}
    for test in json.loads(text):
        milliseconds = statistics.median(test["samples_ns"]) / 1e6
        print(f"  llama-bench -p {test['n_prompt']} -n {test['n_gen']} -d {test['n_depth']} -ub {test['n_ubatch']} "
              f"-fa {test['flash_attn']}: {milliseconds:.4g} ms")
        if test["n_prompt"] == 0 and test["n_depth"] == ours.PROMPT:
            times.setdefault(("decode_ms", 1), []).append(milliseconds / ours.RUN)
        elif test["n_gen"] == 0 and test["n_depth"] == 0:
            times.setdefault(("prefill_ms", 1), []).append(milliseconds)
    return times


def several_sequences(program, model, layers):
    sizes = ",".join(str(batch) for batch in BATCHES for _ in range(TIMES))
    output = "\n".join(run(program, "-m", model, "-ngl", layers, "-npp", ours.PROMPT, "-ntg", ours.RUN, "-npl", sizes,
                           "-c", max(BATCHES) * (ours.PROMPT + ours.RUN), "-b", 2048, "-ub", 2048, "--output-format", "jsonl"))
    times = {}
    for line in re.findall(r"\{.*\"speed_tg\".*\}", output):
        test = json.loads(line)
        print(f"  llama-batched-bench -npl {test['pl']}: {1e3 * test['t_tg'] / test['tg']:.4g} ms a step")
        times.setdefault(("decode_ms", test["pl"]), []).append(1e3 * test["t_tg"] / test["tg"])
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin", type=pathlib.Path)
    parser.add_argument("gguf")
    parser.add_argument("--layers", type=int, default=99, help="on the card")
    ours.arguments(parser)
    options = parser.parse_args()
    name = name_of(options.bin / "llama-bench")
    for program, measure in (("llama-bench", one_sequence), ("llama-batched-bench", several_sequences)):
        times = measure(options.bin / program, options.gguf, options.layers)
        ours.write(options, name, {case: min(seen) for case, seen in times.items()})


if __name__ == "__main__":
    main()
