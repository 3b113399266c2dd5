"""Decoding with Transformers beside bench_decode, in one run on one card.

    bench_decode rows.csv && python3 transformers_decode.py rows.csv [--compile]

Appends, for every dense float16 batch-1 model in rows.csv that is named below, our time beside that of Transformers
(random weights of the same shape): eager with its dynamic cache; its static cache in a CUDA graph that holds the whole
step, the choice of the token included; with --compile also torch.compile(mode="reduce-overhead") around it.
"""
import argparse
import csv
import datetime
import os
import statistics

import torch
import transformers
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM, StaticCache

SHAPES = {  # hidden, layers, heads, kv heads, FFN, vocabulary, tied
    "smollm2-135m": (576, 30, 9, 3, 1536, 49152, True),
    "llama2-7b": (4096, 32, 32, 32, 11008, 32000, False),
}
PROMPT, RUN, CAPACITY, SAMPLES = 128, 32, 512, 9


def build(name):
    hidden, layers, heads, kv_heads, ffn, vocabulary, tied = SHAPES[name]
    config = LlamaConfig(hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
                         num_key_value_heads=kv_heads, intermediate_size=ffn, vocab_size=vocabulary,
                         tie_word_embeddings=tied, max_position_embeddings=4096)
    torch.set_default_dtype(torch.float16)
    with torch.device("cuda"):
        model = LlamaForCausalLM(config).eval()
    torch.set_default_dtype(torch.float32)
    return model


def milliseconds(run, prepare, tokens):
    """Median milliseconds a token of run(), which decodes `tokens`."""
    times = []
    for sample in range(SAMPLES + 1):
        prepare()
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        run()
        end.record()
        end.synchronize()
        if sample:  # the first one warms up
            times.append(begin.elapsed_time(end) / tokens)
    return statistics.median(times)


def eager(model, prompt):
    state = {}

    def prepare():
        cache = DynamicCache(config=model.config)
        state["cache"] = cache
        state["ids"] = model(prompt, past_key_values=cache, use_cache=True).logits[:, -1:].argmax(-1)

    def run():
        for _ in range(RUN):
            state["ids"] = model(state["ids"], past_key_values=state["cache"], use_cache=True).logits[:, -1:].argmax(-1)

    return milliseconds(run, prepare, RUN)


def static(model, prompt, compiled):
    """The step works in place on ids, position and the cache, so that its capture is a chain."""
    cache = StaticCache(config=model.config, max_cache_len=CAPACITY)
    ids = torch.zeros_like(prompt[:, :1])
    position = torch.zeros(1, dtype=torch.long, device="cuda")
    start = torch.tensor([PROMPT], device="cuda")
    forward = torch.compile(model.forward, mode="reduce-overhead", fullgraph=False) if compiled else model.forward

    def step():
        logits = forward(ids, past_key_values=cache, cache_position=position, position_ids=position[None],
                         use_cache=True).logits
        ids.copy_(logits[:, -1:].argmax(-1))
        position.add_(1)

    def prepare():
        position.copy_(start)

    places = torch.arange(PROMPT, device="cuda")
    ids.copy_(model(prompt, past_key_values=cache, cache_position=places, position_ids=places[None],
                    use_cache=True).logits[:, -1:].argmax(-1))
    prepare()
    for _ in range(3):
        step()
    if compiled:
        return milliseconds(lambda: [step() for _ in range(RUN)], prepare, RUN)
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return milliseconds(lambda: [graph.replay() for _ in range(RUN)], prepare, RUN)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("rows")
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    with open(arguments.rows, newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = [r for r in rows if r["model"] in SHAPES and r["form"] == "dense" and r["batch"] == "1"
              and r["metric"] == "decode_ms" and r["baseline"] == "libtorch"]
    roads = [("transformers-eager", eager), ("transformers-graph", lambda m, p: static(m, p, False))]
    if arguments.compile:
        roads.append(("transformers-compile", lambda m, p: static(m, p, True)))
    for ours in wanted:
        model = build(ours["model"])
        prompt = torch.randint(0, model.config.vocab_size, (1, PROMPT), device="cuda")
        for name, road in roads:
            try:
                with torch.inference_mode():
                    theirs = road(model, prompt)
            except Exception as error:  # what this version of Transformers does not have
                print(f"{ours['model']} {name}: {type(error).__name__}: {str(error)[:300]}")
                torch.cuda.synchronize()
                continue
            row = dict(ours, baseline=name, baseline_value=f"{theirs:.6g}", ratio=f"{theirs / float(ours['value']):.6g}",
                       libtorch=torch.__version__.split("+")[0], commit=os.environ.get("SLICE_COMMIT", ""),
                       date=datetime.date.today().isoformat())
            with open(arguments.rows, "a", newline="") as file:
                csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n").writerow(row)
            print(f"{ours['model']:13} {name:22} {theirs:8.3f} ms, ours {float(ours['value']):8.4f} ms "
                  f"({theirs / float(ours['value']):.1f}x)  transformers {transformers.__version__}", flush=True)
        del model
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
