"""Writes the tiny LLaMA checkpoints of this directory, with golden values from Transformers beside them.

Usage: python make_tiny_llama.py        (torch, transformers, safetensors; CPU, a few seconds)

Each directory holds a checkpoint as `save_pretrained` writes it, and golden.safetensors:
  tokens (2, 24) int64, logits (2, 24, V) float32 of them in one forward pass;
  prompt (8) int64, greedy (64) int64: the 64 most likely tokens after it, one at a time.
"""

import pathlib
import shutil

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

HERE = pathlib.Path(__file__).resolve().parent
GREEDY = 64
GAP = 1e-3  # between the best logit and the next, at every greedy step: float32 rounding cannot swap them
DISTINCT = 12  # of the greedy tokens: a text that falls into a short loop tests little

MODELS = {
    # grouped queries, head of its own, no biases, one float32 file
    "tiny_llama_gqa": dict(
        config=dict(vocab_size=96, hidden_size=32, intermediate_size=56, num_hidden_layers=2,
                    num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-5,
                    tie_word_embeddings=False),
        dtype=torch.float32, shard="1GB"),
    # tied head, as many key as query heads, heads not hidden_size wide together, biases everywhere
    "tiny_llama_tied_biased": dict(
        config=dict(vocab_size=80, hidden_size=40, intermediate_size=52, num_hidden_layers=2,
                    num_attention_heads=4, num_key_value_heads=4, head_dim=16, rms_norm_eps=1e-6,
                    rope_theta=500000.0, attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
        dtype=torch.float32, shard="1GB"),
    # bfloat16 in shards with an index, one key head for all queries
    "tiny_llama_sharded_bf16": dict(
        config=dict(vocab_size=101, hidden_size=48, intermediate_size=100, num_hidden_layers=3,
                    num_attention_heads=6, num_key_value_heads=1, rms_norm_eps=1e-5,
                    tie_word_embeddings=False),
        dtype=torch.bfloat16, shard="40KB"),
    # Llama 3's scaled rotary frequencies, with an original context so short that all three kinds occur
    "tiny_llama3_scaled": dict(
        config=dict(vocab_size=90, hidden_size=32, intermediate_size=60, num_hidden_layers=2,
                    num_attention_heads=4, num_key_value_heads=2, head_dim=16, rms_norm_eps=1e-5,
                    rope_parameters=dict(rope_type="llama3", rope_theta=500.0, factor=8.0,
                                         low_freq_factor=1.0, high_freq_factor=4.0,
                                         original_max_position_embeddings=64),
                    tie_word_embeddings=False),
        dtype=torch.float32, shard="1GB"),
}


def random_model(settings, seed):
    """Weights large enough that blocks, not the embedding alone, decide the next token."""
    generator = torch.Generator().manual_seed(seed)
    config = LlamaConfig(max_position_embeddings=256, bos_token_id=1, eos_token_id=2, **settings["config"])
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name:
                value = 1 + 0.3 * noise
            elif name.endswith("bias"):
                value = 0.3 * noise
            elif "embed_tokens" in name:
                value = noise
            else:
                value = 1.5 * noise / parameter.shape[1] ** 0.5
            # The rounding that the file will have. Not model.to(dtype): that rounds the rotary frequencies too.
            parameter.copy_(value.to(settings["dtype"]))
    return model.eval()


def greedy(model, prompt):
    """The most likely tokens, and the smallest gap between the best logit and the next."""
    ids, smallest = list(prompt), float("inf")
    for _ in range(GREEDY):
        best = model(torch.tensor([ids])).logits[0, -1].topk(2)
        smallest = min(smallest, (best.values[0] - best.values[1]).item())
        ids.append(best.indices[0].item())
    return ids[len(prompt):], smallest


def write(name, settings):
    vocabulary = settings["config"]["vocab_size"]
    for seed in range(200):
        model = random_model(settings, seed)
        generator = torch.Generator().manual_seed(1000 + seed)
        tokens = torch.randint(vocabulary, (2, 24), generator=generator)
        prompt = torch.randint(vocabulary, (8,), generator=generator)
        written, gap = greedy(model, prompt.tolist())
        if gap > GAP and len(set(written)) >= DISTINCT:
            break
    assert gap > GAP and len(set(written)) >= DISTINCT, f"{name}: no seed gives a sturdy greedy text"

    directory = HERE / name
    shutil.rmtree(directory, ignore_errors=True)
    logits = model(tokens).logits
    model.to(settings["dtype"]).save_pretrained(directory, max_shard_size=settings["shard"])
    read = LlamaForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    assert torch.equal(read(tokens).logits, logits), f"{name}: the file is not the model"
    save_file({"tokens": tokens, "logits": logits.contiguous(), "prompt": prompt,
               "greedy": torch.tensor(written)}, directory / "golden.safetensors")
    print(f"{name}: seed {seed}, gap {gap:.4f}, {len(set(written))} distinct tokens")


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    with torch.no_grad():
        for name, settings in MODELS.items():
            write(name, settings)
