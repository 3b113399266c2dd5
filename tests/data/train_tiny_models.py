"""Trains the two small models of this directory, trained_opt and trained_phi, on WikiText-2.

Usage: python train_tiny_models.py encode TRAIN_TEXT TEST_TEXT IDS     (tokenizers, numpy; half a minute)
       python train_tiny_models.py train IDS OUT [--steps N]           (torch, transformers; a GPU, a few minutes)

encode trains a byte-level BPE of 512 tokens on the training text, writes it into both directories as the family's
models have it (tokenizer.json for Phi, vocab.json and merges.txt for OPT), and both texts as ids, uint16, into IDS.
train writes OUT/trained_opt and OUT/trained_phi: float16 checkpoints as `save_pretrained` writes them, and
golden.safetensors as make_tiny_llama.py describes it, from the rounded weights in float32 on the CPU.
"""

import argparse
import json
import math
import pathlib
import time

import numpy

HERE = pathlib.Path(__file__).resolve().parent
END, VOCABULARY, CONTEXT = "<|endoftext|>", 512, 256
D, LAYERS, HEADS, FFN = 128, 4, 4, 512
BATCH, STEPS, WARMUP, RATE = 128, 5000, 200, 3e-3
GAP = 2e-3  # between the best logit and the next, at every greedy step


def encode(train_text, test_text, ids):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train([str(train_text)], trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[END], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    opt, phi = HERE / "trained_opt", HERE / "trained_phi"
    opt.mkdir(exist_ok=True)
    phi.mkdir(exist_ok=True)
    tokenizer.save(str(phi / "tokenizer.json"))
    tokenizer.model.save(str(opt))
    special = {"bos_token": END, "eos_token": END, "unk_token": END}
    (opt / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "GPT2Tokenizer", "add_bos_token": False, **special}, indent=2) + "\n")
    (phi / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **special}, indent=2) + "\n")
    ids.mkdir(parents=True, exist_ok=True)
    for name, path in (("train", train_text), ("test", test_text)):
        encoded = tokenizer.encode(path.read_text(encoding="utf-8")).ids
        numpy.array(encoded, dtype=numpy.uint16).tofile(ids / name)
        print(f"{name}: {len(encoded)} tokens")


def make_model(name):
    from transformers import OPTConfig, OPTForCausalLM, PhiConfig, PhiForCausalLM

    common = dict(vocab_size=VOCABULARY, hidden_size=D, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
                  max_position_embeddings=CONTEXT, bos_token_id=0, eos_token_id=0, pad_token_id=None)
    if name == "trained_opt":
        return OPTForCausalLM(OPTConfig(ffn_dim=FFN, word_embed_proj_dim=D, dropout=0.0, **common))
    return PhiForCausalLM(PhiConfig(intermediate_size=FFN, partial_rotary_factor=0.4, **common))


def loss_of(model, windows):
    import torch
    with torch.no_grad():
        total = sum(model(input_ids=w, labels=w).loss.item() * len(w) for w in windows.split(64))
    return total / len(windows)


def train(name, data, test, steps, device):
    import torch

    torch.manual_seed(1)
    model = make_model(name).to(device)
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
                                  lr=RATE, betas=(0.9, 0.95))
    warmup = min(WARMUP, steps // 2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(
        (step + 1) / warmup, 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps))))
    batch = BATCH if device == "cuda" else 4
    offsets = torch.arange(CONTEXT, device=device)
    begin = time.time()
    for step in range(steps):
        starts = torch.randint(len(data) - CONTEXT, (batch, 1), device=device)
        windows = data[starts + offsets]
        with torch.autocast(device, dtype=torch.bfloat16):
            loss = model(input_ids=windows, labels=windows).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % max(1, steps // 8) == 0:
            print(f"{name}: step {step + 1}, loss {loss.item():.4f}, {time.time() - begin:.0f} s", flush=True)
    model = model.half().float().eval()  # the rounding that the file will have
    count = len(test) // CONTEXT
    loss = loss_of(model, test[:count * CONTEXT].view(count, CONTEXT)[:400])
    print(f"{name}: test loss {loss:.4f} a token, perplexity {math.exp(loss):.3f}", flush=True)
    return model.cpu()


def greedy(model, prompt, count):
    """The most likely tokens, and the smallest gap between the best logit and the next."""
    import torch

    ids, smallest = list(prompt), float("inf")
    for _ in range(count):
        best = model(torch.tensor([ids])).logits[0, -1].topk(2)
        smallest = min(smallest, (best.values[0] - best.values[1]).item())
        ids.append(best.indices[0].item())
    return ids[len(prompt):], smallest


def write(model, directory, test):
    import torch
    from safetensors.torch import save_file

    with torch.no_grad():
        tokens = test[1000:1032].view(1, 32)
        logits = model(tokens).logits.contiguous()
        for start in range(2000, 2000 + 200 * 64, 64):
            prompt = test[start:start + 8]
            written, gap = greedy(model, prompt.tolist(), 64)
            if gap > GAP:
                break
    print(f"{directory.name}: greedy gap {gap:.4f}")
    model.half().save_pretrained(directory)
    save_file({"tokens": tokens.clone(), "logits": logits, "prompt": prompt.clone(), "greedy": torch.tensor(written)},
              directory / "golden.safetensors")


def train_all(ids, out, steps):
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    texts = {name: torch.from_numpy(numpy.fromfile(ids / name, dtype=numpy.uint16).astype(numpy.int64))
             for name in ("train", "test")}
    for name in ("trained_opt", "trained_phi"):
        model = train(name, texts["train"].to(device), texts["test"].to(device), steps, device)
        write(model, out / name, texts["test"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    stages = parser.add_subparsers(dest="stage", required=True)
    stage = stages.add_parser("encode")
    for argument in ("train_text", "test_text", "ids"):
        stage.add_argument(argument, type=pathlib.Path)
    stage = stages.add_parser("train")
    for argument in ("ids", "out"):
        stage.add_argument(argument, type=pathlib.Path)
    stage.add_argument("--steps", type=int, default=STEPS)
    arguments = parser.parse_args()
    if arguments.stage == "encode":
        encode(arguments.train_text, arguments.test_text, arguments.ids)
    else:
        train_all(arguments.ids, arguments.out, arguments.steps)
