"""gpt-fast beside bench_decode, in one run on one card.

    python3 gpt_fast.py CHECKOUT --ours rows.csv --csv peers.csv

CHECKOUT: of github.com/meta-pytorch/gpt-fast. Its model and its step (`decode_one_token`) are imported from there and
compiled as its generate.py does it, weights random and in float16. A token is sampled at temperature 1 from the whole
vocabulary, its cheapest way. `--shape stories15M --device cpu` tries a checkout without a GPU.
"""
import argparse
import statistics
import sys
import time
import types

import torch

import ours

SAMPLES = 9
LAYERS = {"llama2-7b": "7B", "llama2-13b": "13B"}  # our names, gpt-fast's


def load(checkout):
    """Its generate.py; the tokenizer, which wants packages of its own, is not used."""
    sys.path.insert(0, checkout)
    sys.modules["tokenizer"] = types.SimpleNamespace(get_tokenizer=None)
    import generate
    return generate


def build(generate, shape, device):
    with torch.device("meta"):
        model = generate.Transformer.from_name(shape)
    model = model.to(torch.float16).to_empty(device=device).eval()
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            parameter.data.fill_(1)
        else:
            parameter.data.normal_(0, 1 if "embeddings" in name else parameter.shape[-1] ** -0.5)
    with torch.device(device):
        model.setup_caches(max_batch_size=1, max_seq_length=ours.PROMPT + ours.RUN)
    for name, cache in model.named_buffers():
        if name.endswith("_cache"):
            cache.normal_()  # what a prompt would have left there
    return model


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


@torch.no_grad()
def token_ms(generate, model, device):
    """Median milliseconds a token of runs as long as bench_decode's."""
    step = torch.compile(generate.decode_one_token, mode="reduce-overhead", fullgraph=True)
    mask = generate.create_block_mask(generate.causal_mask, 1, 1, model.max_seq_length, model.max_seq_length, device=device)

    def run():
        token = torch.zeros(1, 1, dtype=torch.int, device=device)
        position = torch.tensor([ours.PROMPT], dtype=torch.int, device=device)
        wait(device)
        begin = time.perf_counter()
        for _ in range(ours.RUN):
            token = step(model, token, position, mask)[0].clone()
            position += 1
        wait(device)
        return 1e3 * (time.perf_counter() - begin) / ours.RUN

    begin = time.perf_counter()
    run()  # compiles
    run()  # captures
    print(f"  compiled in {time.perf_counter() - begin:.0f} s", flush=True)
    return statistics.median(run() for _ in range(SAMPLES))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout")
    parser.add_argument("--shape", help="gpt-fast's name of one; that of --model without it")
    parser.add_argument("--device", default="cuda")
    ours.arguments(parser)
    options = parser.parse_args()
    generate = load(options.checkout)
    model = build(generate, options.shape or LAYERS[options.model], options.device)
    milliseconds = token_ms(generate, model, options.device)
    ours.write(options, "gpt-fast", {("decode_ms", 1): milliseconds}, libtorch=torch.__version__.split("+")[0])


if __name__ == "__main__":
    main()
