"""Writes tiny sliced checkpoints of this directory, one a family, with golden values from the modeling file in Transformers.

Usage: python make_tiny_sliced.py        (torch, transformers, safetensors; CPU, a few seconds)

The same files as make_tiny_llama.py writes; together they hold every form of shortcut. What runs them here is
libslice/checkpoint/python/modeling_sliced.py, which libslice writes beside its sliced models; the copies that save_pretrained makes are
removed again.
"""

import json
import pathlib
import shutil
import tempfile

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from make_tiny_llama import DISTINCT, GAP, HERE, greedy

MODELING = HERE.parents[1] / "libslice" / "checkpoint" / "python" / "modeling_sliced.py"

RMS = dict(intermediate_size=56, num_key_value_heads=2, head_dim=12, rms_norm_eps=1e-5)
MODELS = {
    # vectors and matrices by turns, the last site kept whole, FFN widths that differ
    "tiny_sliced_llama": ("Llama", dict(
        RMS, stream_sizes=[24, 24, 24, 24, 32], shortcut="diagonal", ffn_sizes=[56, 40])),
    "tiny_sliced_mistral": ("Mistral", dict(
        RMS, stream_sizes=[25] * 5, shortcut="lowrank", shortcut_rank=3, sliding_window=8)),
    # matrices between sites of different sizes
    "tiny_sliced_qwen2": ("Qwen2", dict(
        RMS, stream_sizes=[24, 22, 26, 20, 32], shortcut="dense", use_sliding_window=True, sliding_window=8,
        max_window_layers=1)),
    # nothing between sites, a head that gained a bias
    "tiny_sliced_opt": ("OPT", dict(
        ffn_dim=56, word_embed_proj_dim=32, stream_sizes=[24] * 5, shortcut="none", ffn_sizes=[56, 40])),
    "tiny_sliced_phi": ("Phi", dict(
        intermediate_size=56, num_key_value_heads=2, partial_rotary_factor=0.5, layer_norm_eps=1e-5,
        stream_sizes=[24, 20, 24], shortcut="dense")),
    # biases of norms that moved into what reads them
    "tiny_sliced_stablelm": ("StableLm", dict(
        intermediate_size=56, num_key_value_heads=2, partial_rotary_factor=0.5, use_parallel_residual=True,
        stream_sizes=[24, 20, 24], shortcut="dense")),
    "tiny_sliced_starcoder2": ("Starcoder2", dict(
        intermediate_size=56, num_key_value_heads=2, use_bias=False, stream_sizes=[24] * 5, shortcut="none")),
    "tiny_sliced_olmo": ("Olmo", dict(
        intermediate_size=56, num_key_value_heads=2, stream_sizes=[24, 24, 24, 24, 32], shortcut="diagonal")),
    # neighbours turn, logits times a scale
    "tiny_sliced_cohere": ("Cohere", dict(
        intermediate_size=56, num_key_value_heads=2, logit_scale=0.5, stream_sizes=[24] * 3, shortcut="none")),
    # fused tensors that gain biases, one norm for two branches that had one each
    "tiny_sliced_falcon": ("Falcon", dict(
        ffn_hidden_size=56, num_kv_heads=2, new_decoder_architecture=True, stream_sizes=[24, 20, 24], shortcut="dense")),
    "tiny_sliced_gpt_neox": ("GPTNeoX", dict(intermediate_size=56, stream_sizes=[24, 24, 32], shortcut="diagonal")),
    "tiny_sliced_gpt2": ("GPT2", dict(
        n_inner=56, stream_sizes=[24] * 5, shortcut="none", ffn_sizes=[56, 40])),
    "tiny_sliced_gptj": ("GPTJ", dict(n_inner=56, rotary_dim=4, stream_sizes=[24, 20, 24], shortcut="dense")),
    "tiny_sliced_nemotron": ("Nemotron", dict(
        intermediate_size=56, num_key_value_heads=2, stream_sizes=[24] * 5, shortcut="none")),
    # experts that read and write other widths
    "tiny_sliced_mixtral": ("Mixtral", dict(
        intermediate_size=16, num_key_value_heads=2, num_local_experts=4, stream_sizes=[24, 20, 22, 24, 32],
        shortcut="dense")),
    "tiny_sliced_qwen3_moe": ("Qwen3Moe", dict(
        moe_intermediate_size=12, num_key_value_heads=2, head_dim=12, num_experts=6, num_experts_per_tok=3,
        stream_sizes=[24] * 5, shortcut="none")),
    "tiny_sliced_olmoe": ("Olmoe", dict(
        intermediate_size=16, num_key_value_heads=2, num_experts=5, num_experts_per_tok=2,
        stream_sizes=[24, 24, 24, 24, 32], shortcut="diagonal")),
    "tiny_sliced_apertus": ("Apertus", dict(
        intermediate_size=40, num_key_value_heads=2, stream_sizes=[24, 20, 24, 20, 32], shortcut="dense",
        ffn_sizes=[40, 30], rope_parameters={"rope_type": "default", "rope_theta": 500.0})),
    # a head that kept its tie, a map between the last site and the embedding
    "tiny_sliced_tied": ("Llama", dict(
        RMS, stream_sizes=[24] * 4 + [32], shortcut="none", tie_word_embeddings=True)),
}


def random_model(directory, family, settings, seed):
    """The model of a directory that holds config.json and the modeling file."""
    name = {"GPTNeoX": "gpt_neox", "Qwen3Moe": "qwen3_moe"}.get(family, family.lower())
    model_name = f"Sliced{family}" + ("LMHeadModel" if family == "GPT2" else "ForCausalLM")
    config_name = model_name.removesuffix("ForCausalLM") + "Config"
    module = f"modeling_sliced_{name}"
    shutil.copy(MODELING, directory / f"{module}.py")
    config = dict(
        model_type=f"sliced_{name}", architectures=[model_name],
        auto_map={"AutoConfig": f"{module}.{config_name}", "AutoModelForCausalLM": f"{module}.{model_name}"},
        vocab_size=90, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=128,
        bos_token_id=1, eos_token_id=2, pad_token_id=0, **{"tie_word_embeddings": False, **settings})
    (directory / "config.json").write_text(json.dumps(config))
    config = AutoConfig.from_pretrained(directory, trust_remote_code=True)
    model = AutoModelForCausalLM.from_config(config, trust_remote_code=True)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 1:
                value = 0.3 * noise
            elif "embed" in parameter_name:
                value = noise
            else:
                value = 1.5 * noise / parameter.shape[1] ** 0.5
            parameter.copy_(value)
    return model.eval()


def write(name, family, settings):
    with tempfile.TemporaryDirectory() as temporary:
        for seed in range(200):
            model = random_model(pathlib.Path(temporary), family, settings, seed)
            generator = torch.Generator().manual_seed(1000 + seed)
            tokens = torch.randint(90, (2, 24), generator=generator)
            prompt = torch.randint(90, (8,), generator=generator)
            written, gap = greedy(model, prompt.tolist())
            if gap > GAP and len(set(written)) >= DISTINCT:
                break
    assert gap > GAP and len(set(written)) >= DISTINCT, f"{name}: no seed gives a sturdy greedy text"

    directory = HERE / name
    shutil.rmtree(directory, ignore_errors=True)
    logits = model(tokens).logits
    model.save_pretrained(directory)
    read = AutoModelForCausalLM.from_pretrained(directory, trust_remote_code=True, dtype=torch.float32).eval()
    assert torch.equal(read(tokens).logits, logits), f"{name}: the file is not the model"
    for module in directory.glob("*.py"):
        module.unlink()
    save_file({"tokens": tokens, "logits": logits.contiguous(), "prompt": prompt,
               "greedy": torch.tensor(written)}, directory / "golden.safetensors")
    print(f"{name}: seed {seed}, gap {gap:.4f}, {len(set(written))} distinct tokens")


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    with torch.no_grad():
        for name, (family, settings) in MODELS.items():
            write(name, family, settings)
