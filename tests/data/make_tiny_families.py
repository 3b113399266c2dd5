"""Writes the tiny checkpoints of the other families of this directory, with golden values from Transformers.

Usage: python make_tiny_families.py        (torch, transformers, safetensors; CPU, a few seconds)

The same files as make_tiny_llama.py writes. tiny_opt_bare holds tiny_opt's weights under the keys of the first
OPT files: without their first step, and without the head.
"""

import shutil

import torch
from safetensors.torch import load_file, save_file
from transformers import (ApertusConfig, ApertusForCausalLM, ArceeConfig, ArceeForCausalLM, Cohere2Config,
                          Cohere2ForCausalLM, CohereConfig, CohereForCausalLM, Ernie4_5Config, Ernie4_5ForCausalLM,
                          Exaone4Config, Exaone4ForCausalLM, FalconConfig, FalconForCausalLM, Gemma2Config,
                          Gemma2ForCausalLM, Gemma3Config, Gemma3ForCausalLM, Gemma3ForConditionalGeneration,
                          Gemma3TextConfig, GemmaConfig, GemmaForCausalLM, Glm4Config, Glm4ForCausalLM, GPT2Config,
                          GPT2LMHeadModel, GPTJConfig, GPTJForCausalLM, GPTNeoXConfig, GPTNeoXForCausalLM,
                          GraniteConfig, GraniteForCausalLM, HeliumConfig, HeliumForCausalLM, HunYuanDenseV1Config,
                          HunYuanDenseV1ForCausalLM, Ministral3Config, Ministral3ForCausalLM, MinistralConfig,
                          MinistralForCausalLM, Mistral3Config, Mistral3ForConditionalGeneration, MistralConfig,
                          MistralForCausalLM, MixtralConfig, MixtralForCausalLM, NemotronConfig, NemotronForCausalLM,
                          Olmo2Config, Olmo2ForCausalLM, Olmo3Config, Olmo3ForCausalLM, OlmoConfig, OlmoeConfig,
                          OlmoeForCausalLM, OlmoForCausalLM, OPTConfig, OPTForCausalLM, Phi3Config, Phi3ForCausalLM,
                          PhiConfig, PhiForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM,
                          Qwen3MoeConfig, Qwen3MoeForCausalLM, SeedOssConfig, SeedOssForCausalLM, SmolLM3Config,
                          SmolLM3ForCausalLM, StableLmConfig, StableLmForCausalLM, Starcoder2Config,
                          Starcoder2ForCausalLM)

from make_tiny_llama import DISTINCT, GAP, HERE, greedy


def with_images(config_type, text_type, vision, **more):
    """Makes configurations of a model that sees images, whose text is a network of text_type."""
    def config(bos_token_id, eos_token_id, pad_token_id, **settings):
        text = text_type(bos_token_id=bos_token_id, eos_token_id=eos_token_id, pad_token_id=pad_token_id, **settings)
        return config_type(text_config=text.to_dict(), vision_config=vision, **more)

    config.model_type = text_type.model_type
    return config


VISION = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4)
SMALL = dict(vocab_size=90, hidden_size=32, intermediate_size=44, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2)
MODELS = {
    # a window much shorter than the texts
    "tiny_mistral_window": (MistralConfig, MistralForCausalLM, dict(
        vocab_size=96, hidden_size=32, intermediate_size=56, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, rms_norm_eps=1e-5, sliding_window=8, tie_word_embeddings=False)),
    # biases on q, k and v, tied head
    "tiny_qwen2": (Qwen2Config, Qwen2ForCausalLM, dict(
        vocab_size=90, hidden_size=32, intermediate_size=60, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, use_sliding_window=False, tie_word_embeddings=True)),
    # a window in the two upper layers of three
    "tiny_qwen2_window": (Qwen2Config, Qwen2ForCausalLM, dict(
        vocab_size=90, hidden_size=32, intermediate_size=60, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, use_sliding_window=True, sliding_window=8, max_window_layers=1,
        tie_word_embeddings=False)),
    # LayerNorm, learned positions, ReLU, biases, tied head
    "tiny_opt": (OPTConfig, OPTForCausalLM, dict(
        vocab_size=80, hidden_size=40, ffn_dim=72, num_hidden_layers=2, num_attention_heads=4,
        word_embed_proj_dim=40, max_position_embeddings=128)),
    # parallel block, half of each head turns, grouped queries, biases and the head's
    "tiny_phi": (PhiConfig, PhiForCausalLM, dict(
        vocab_size=90, hidden_size=48, intermediate_size=76, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, partial_rotary_factor=0.5, layer_norm_eps=1e-5)),
    # LayerNorm, rotary positions, a window, biases
    "tiny_starcoder2": (Starcoder2Config, Starcoder2ForCausalLM, dict(
        vocab_size=80, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, sliding_window=8, tie_word_embeddings=False)),
    # LayerNorm with biases whose readers have none, a part of each head turns
    "tiny_stablelm": (StableLmConfig, StableLmForCausalLM, dict(
        vocab_size=80, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, rope_parameters=dict(rope_type="default", rope_theta=500.0, partial_rotary_factor=0.5))),
    "tiny_stablelm_parallel": (StableLmConfig, StableLmForCausalLM, dict(
        vocab_size=80, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, use_parallel_residual=True, use_qkv_bias=True)),
    # LayerNorms without weights
    "tiny_olmo": (OlmoConfig, OlmoForCausalLM, dict(
        vocab_size=80, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2)),
    # norms before and after, soft caps that are felt, scaled scores and embeddings, a window in every second layer
    "tiny_gemma2": (Gemma2Config, Gemma2ForCausalLM, dict(
        vocab_size=96, hidden_size=32, intermediate_size=56, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=12, query_pre_attn_scalar=20, sliding_window=8, attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0)),
    # norms of queries and keys, two rotary bases, one of them scaled
    "tiny_gemma3": (Gemma3TextConfig, Gemma3ForCausalLM, dict(
        vocab_size=96, hidden_size=32, intermediate_size=56, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=12, query_pre_attn_scalar=12, sliding_window=8,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters={"full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 50000.0},
                         "sliding_attention": {"rope_type": "default", "rope_theta": 1000.0}})),
    # norms after only, and over all queries and all keys
    "tiny_olmo2": (Olmo2Config, Olmo2ForCausalLM, dict(
        vocab_size=90, hidden_size=32, intermediate_size=60, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2)),
    "tiny_olmo3": (Olmo3Config, Olmo3ForCausalLM, dict(
        vocab_size=90, hidden_size=32, intermediate_size=60, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=4, sliding_window=8)),
    # no rotary positions in the layer without a window
    "tiny_exaone4": (Exaone4Config, Exaone4ForCausalLM, dict(
        vocab_size=90, hidden_size=32, intermediate_size=60, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, sliding_window=8, sliding_window_pattern=3)),
    # norms before and after, interleaved rotary pairs in half of each head, biases of q, k and v
    "tiny_glm4": (Glm4Config, Glm4ForCausalLM, dict(
        vocab_size=90, hidden_size=32, intermediate_size=60, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, rms_norm_eps=1e-5)),
    # parallel blocks with a norm for each branch, q, k and v as one tensor, a part of each head turns
    "tiny_gpt_neox": (GPTNeoXConfig, GPTNeoXForCausalLM, dict(
        vocab_size=80, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        rope_parameters=dict(rope_type="default", rope_theta=500.0, partial_rotary_factor=0.5))),
    "tiny_gpt_neox_sequential": (GPTNeoXConfig, GPTNeoXForCausalLM, dict(
        vocab_size=80, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        use_parallel_residual=False)),
    # matrices transposed, learned positions
    "tiny_gpt2": (GPT2Config, GPT2LMHeadModel, dict(
        vocab_size=80, n_embd=32, n_inner=48, n_layer=2, n_head=4, n_positions=128, tie_word_embeddings=False)),
    # LayerNorms without biases, neighbours turn, logits times a scale
    "tiny_cohere": (CohereConfig, CohereForCausalLM, dict(
        vocab_size=80, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, logit_scale=0.5, tie_word_embeddings=False)),
    # a window and rotary positions in three layers of four
    "tiny_cohere2": (Cohere2Config, Cohere2ForCausalLM, dict(
        vocab_size=80, hidden_size=24, intermediate_size=32, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, logit_scale=0.5, sliding_window=8, tie_word_embeddings=False)),
    # one key head for all queries, one norm
    "tiny_falcon": (FalconConfig, FalconForCausalLM, dict(
        vocab_size=80, hidden_size=32, ffn_hidden_size=48, num_hidden_layers=2, num_attention_heads=4,
        tie_word_embeddings=False)),
    # key heads with their queries, a norm for each branch, biases
    "tiny_falcon_grouped": (FalconConfig, FalconForCausalLM, dict(
        vocab_size=80, hidden_size=32, ffn_hidden_size=48, num_hidden_layers=2, num_attention_heads=4, num_kv_heads=2,
        new_decoder_architecture=True, bias=True, tie_word_embeddings=False)),
    # neighbours turn in a part of each head, biases of feed-forward and head
    "tiny_gptj": (GPTJConfig, GPTJForCausalLM, dict(
        vocab_size=80, n_embd=32, n_inner=48, n_layer=2, n_head=2, n_positions=128, rotary_dim=8)),
    # norms without their 1, squared ReLU
    "tiny_nemotron": (NemotronConfig, NemotronForCausalLM, dict(
        vocab_size=80, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=12)),
    # norms of heads, heads of a size of their own, tied
    "tiny_qwen3": (Qwen3Config, Qwen3ForCausalLM, dict(SMALL, head_dim=12, tie_word_embeddings=True)),
    # fused tensors, longrope (the texts are within the original context), three quarters of each head turn
    "tiny_phi3_long": (Phi3Config, Phi3ForCausalLM, dict(
        SMALL, original_max_position_embeddings=128, partial_rotary_factor=0.75, rope_parameters={
            "rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0, 1.2, 1.5],
            "long_factor": [1.1, 2.0, 4.0], "partial_rotary_factor": 0.75})),
    # fused tensors, a window
    "tiny_phi3_window": (Phi3Config, Phi3ForCausalLM, dict(SMALL, sliding_window=8)),
    # every second layer without rotary positions, and with a window
    "tiny_smollm3": (SmolLM3Config, SmolLM3ForCausalLM, dict(
        SMALL, num_hidden_layers=3, no_rope_layer_interval=2, use_sliding_window=True, sliding_window=8)),
    "tiny_granite": (GraniteConfig, GraniteForCausalLM, dict(
        SMALL, embedding_multiplier=3.0, residual_multiplier=0.4, attention_multiplier=0.5, logits_scaling=2.0)),
    # norms without their 1, embeddings times the root of the width
    "tiny_gemma": (GemmaConfig, GemmaForCausalLM, dict(SMALL, head_dim=12)),
    "tiny_seed_oss": (SeedOssConfig, SeedOssForCausalLM, dict(SMALL, head_dim=12, attention_out_bias=True)),
    # squared ReLU without a gate
    "tiny_arcee": (ArceeConfig, ArceeForCausalLM, dict(SMALL)),
    # neighbouring coordinates turn together
    "tiny_ernie4_5": (Ernie4_5Config, Ernie4_5ForCausalLM, dict(SMALL, head_dim=12, use_bias=True)),
    "tiny_helium": (HeliumConfig, HeliumForCausalLM, dict(SMALL, head_dim=8)),
    # a window in one layer of two
    "tiny_ministral": (MinistralConfig, MinistralForCausalLM, dict(
        SMALL, head_dim=8, sliding_window=8, layer_types=["full_attention", "sliding_attention"])),
    "tiny_mistral_yarn": (MistralConfig, MistralForCausalLM, dict(
        SMALL, sliding_window=None, rope_parameters={
            "rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "beta_fast": 4.0, "beta_slow": 0.5,
            "original_max_position_embeddings": 64})),
    # experts, the two chosen ones' shares add up to one, a window
    "tiny_mixtral": (MixtralConfig, MixtralForCausalLM, dict(
        SMALL, intermediate_size=16, num_local_experts=4, sliding_window=8)),
    # experts, norms of heads
    "tiny_qwen3_moe": (Qwen3MoeConfig, Qwen3MoeForCausalLM, dict(
        SMALL, head_dim=12, moe_intermediate_size=12, num_experts=6, num_experts_per_tok=3, norm_topk_prob=True)),
    # experts, shares as they are, norms over all queries and all keys
    "tiny_olmoe": (OlmoeConfig, OlmoeForCausalLM, dict(
        SMALL, intermediate_size=16, num_experts=5, num_experts_per_tok=2)),
    # queries that grow with their position, YaRN
    "tiny_ministral3": (Ministral3Config, Ministral3ForCausalLM, dict(
        SMALL, head_dim=8, rope_parameters={
            "rope_type": "yarn", "rope_theta": 1000.0, "factor": 4.0, "original_max_position_embeddings": 8,
            "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.4})),
    # the text of a model that sees images, one with a tied head
    "tiny_mistral3": (with_images(Mistral3Config, Ministral3Config, dict(VISION, model_type="pixtral", head_dim=4)),
                      Mistral3ForConditionalGeneration, dict(SMALL, head_dim=8, rope_parameters={
                          "rope_type": "yarn", "rope_theta": 1000.0, "factor": 4.0,
                          "original_max_position_embeddings": 16, "llama_4_scaling_beta": 0.4})),
    "tiny_gemma3_images": (with_images(Gemma3Config, Gemma3TextConfig, VISION, mm_tokens_per_image=4),
                           Gemma3ForConditionalGeneration, dict(
        SMALL, head_dim=12, query_pre_attn_scalar=12, sliding_window=8,
        layer_types=["sliding_attention", "full_attention"])),
    # norms of heads after they turn, a rotary base grown by a constant
    "tiny_hunyuan": (HunYuanDenseV1Config, HunYuanDenseV1ForCausalLM, dict(
        SMALL, head_dim=12, rope_parameters={
            "rope_type": "dynamic", "rope_theta": 100.0, "factor": 1.0, "alpha": 50.0})),
    # xIELU with its constants, other names of norms
    "tiny_apertus": (ApertusConfig, ApertusForCausalLM, dict(
        SMALL, rope_parameters={"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0,
                                "high_freq_factor": 4.0, "original_max_position_embeddings": 64})),
}


def random_model(config_type, model_type, settings, seed):
    """Weights, biases and norms large enough that the loss of any one of them would be seen."""
    generator = torch.Generator().manual_seed(seed)
    settings = {"max_position_embeddings": 256, "pad_token_id": 0, **settings}
    if "n_positions" in settings:
        settings.pop("max_position_embeddings")
    model = model_type(config_type(bos_token_id=1, eos_token_id=2, **settings))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("bias") or "alpha" in name:
                value = 0.3 * noise
            elif "norm" in name or ".ln_" in name:
                value = 1 + 0.3 * noise
            elif "embed" in name:  # a Gemma scales it: it would drown what the layers write
                value = noise / settings["hidden_size"] ** 0.5 if config_type.model_type.startswith("gemma") else noise
            elif any(part in name for part in ("embed_tokens", "embed_positions", "embed_in", "word_embeddings", "wte", "wpe")):
                value = noise
            else:
                value = 1.5 * noise / parameter.shape[-1] ** 0.5
            parameter.copy_(value)
    return model.eval()


def write(name, config_type, model_type, settings):
    vocabulary = settings["vocab_size"]
    for seed in range(200):
        model = random_model(config_type, model_type, settings, seed)
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
    model.save_pretrained(directory)
    read = model_type.from_pretrained(directory, dtype=torch.float32).eval()
    assert torch.equal(read(tokens).logits, logits), f"{name}: the file is not the model"
    if getattr(model.config, "sliding_window", None):
        model.config.sliding_window = 10_000
        assert (model(tokens).logits - logits).abs().max() > 0.1, f"{name}: the window makes no difference"
    save_file({"tokens": tokens, "logits": logits.contiguous(), "prompt": prompt,
               "greedy": torch.tensor(written)}, directory / "golden.safetensors")
    print(f"{name}: seed {seed}, gap {gap:.4f}, {len(set(written))} distinct tokens")


def write_bare(source, target):
    shutil.rmtree(HERE / target, ignore_errors=True)
    shutil.copytree(HERE / source, HERE / target)
    weights = load_file(HERE / source / "model.safetensors")
    save_file({key.removeprefix("model."): value for key, value in weights.items() if not key.startswith("lm_head")},
              HERE / target / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    with torch.no_grad():
        for name, (config_type, model_type, settings) in MODELS.items():
            write(name, config_type, model_type, settings)
        write_bare("tiny_opt", "tiny_opt_bare")
