"""Random models of every family that is written as GGUF, for llama_cpp_test.py."""

CONTEXT = 128
SMALL = dict(vocab_size=300, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=CONTEXT, bos_token_id=0, eos_token_id=1, pad_token_id=None)
WIDE = dict(SMALL, head_dim=24)  # heads that are not hidden size / heads
OWN, TIED = dict(tie_word_embeddings=False), dict(tie_word_embeddings=True)
GPT = dict(vocab_size=300, n_embd=64, n_layer=2, n_head=4, n_positions=CONTEXT, n_ctx=CONTEXT, n_inner=256,
           bos_token_id=0, eos_token_id=1)


def rope(kind="default", theta=10000.0, **more):
    return dict(rope_parameters=dict(rope_type=kind, rope_theta=theta, **more))


LLAMA3 = rope("llama3", 5e5, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=8192)


def longrope(original):
    short, long = [1.0, 1.1, 1.2, 1.3, 1.5, 1.7, 2.0, 2.5], [1.5 * i for i in range(1, 9)]
    return dict(rope("longrope", short_factor=short, long_factor=long, original_max_position_embeddings=original),
                original_max_position_embeddings=original, max_position_embeddings=2 * original, sliding_window=None)


MINISTRAL = rope("yarn", factor=4.0, original_max_position_embeddings=8, beta_fast=32.0, beta_slow=1.0, mscale=1.0,
                 mscale_all_dim=1.0, llama_4_scaling_beta=0.4)
YARN = rope("yarn", factor=4.0, original_max_position_embeddings=32)
# name: class of Transformers, options, greatest relative difference of logits. llama.cpp computes both GELUs from a
# table, in float16, of the tanh approximation.
EXACT, GELU = 2e-5, 2e-3
CASES = {
    "llama": ("Llama", dict(WIDE, **OWN), EXACT),
    "llama tied, biased": ("Llama", dict(SMALL, **TIED, attention_bias=True, mlp_bias=True), EXACT),
    "llama llama3": ("Llama", dict(SMALL, **OWN, **LLAMA3), EXACT),
    "llama linear": ("Llama", dict(SMALL, **OWN, **rope("linear", factor=4.0)), EXACT),
    "llama yarn": ("Llama", dict(SMALL, **OWN, **YARN), EXACT),
    "mistral": ("Mistral", dict(WIDE, **OWN, sliding_window=None), EXACT),
    "mistral yarn": ("Mistral", dict(SMALL, **OWN, sliding_window=None, **rope(
        "yarn", factor=4.0, original_max_position_embeddings=32, beta_fast=4.0, beta_slow=0.5)), EXACT),
    "qwen2": ("Qwen2", dict(SMALL, **TIED), EXACT),
    "qwen2 yarn": ("Qwen2", dict(SMALL, **OWN, **YARN), EXACT),
    "qwen3": ("Qwen3", dict(WIDE, **OWN), EXACT),
    "qwen3 tied": ("Qwen3", dict(WIDE, **TIED), EXACT),
    "phi": ("Phi", dict(SMALL, num_key_value_heads=4, intermediate_size=256, partial_rotary_factor=0.5), GELU),
    "phi grouped": ("Phi", dict(SMALL, partial_rotary_factor=0.5), GELU),
    "phi3": ("Phi3", dict(SMALL, **OWN, sliding_window=None), EXACT),
    "phi3 longrope": ("Phi3", dict(SMALL, **OWN) | longrope(2 * CONTEXT), EXACT),
    "phi3 longrope, past it": ("Phi3", dict(SMALL, **OWN) | longrope(16), EXACT),
    "phi3 part": ("Phi3", dict(SMALL, **TIED, sliding_window=None, **rope(partial_rotary_factor=0.75)), EXACT),
    "smollm3": ("SmolLM3", dict(SMALL, **TIED, num_hidden_layers=5), EXACT),
    "smollm3 own": ("SmolLM3", dict(SMALL, **OWN, num_hidden_layers=5), EXACT),
    "granite": ("Granite", dict(SMALL, **OWN, embedding_multiplier=3.0, residual_multiplier=0.5, logits_scaling=4.0,
                                attention_multiplier=0.2), EXACT),
    "gemma": ("Gemma", dict(WIDE), GELU),
    "gemma2": ("Gemma2", dict(WIDE, num_hidden_layers=3, sliding_window=8, query_pre_attn_scalar=24), GELU),
    "gemma3": ("Gemma3Text", dict(WIDE, num_hidden_layers=7, sliding_window=8, query_pre_attn_scalar=24), GELU),
    "gemma3 linear": ("Gemma3Text", dict(
        WIDE, num_hidden_layers=7, sliding_window=8, query_pre_attn_scalar=24,
        rope_parameters=dict(full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1e6),
                             sliding_attention=dict(rope_type="default", rope_theta=1e4))), GELU),
    "gemma3 pattern": ("Gemma3Text", dict(
        WIDE, num_hidden_layers=3, sliding_window=8, query_pre_attn_scalar=24, **OWN,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"]), GELU),
    "seed_oss": ("SeedOss", dict(WIDE, **OWN), EXACT),
    "ernie4_5": ("Ernie4_5", dict(WIDE, **TIED), EXACT),
    "arcee": ("Arcee", dict(SMALL, **OWN), EXACT),
    "arcee yarn": ("Arcee", dict(SMALL, **OWN, **YARN), EXACT),
    "helium": ("Helium", dict(SMALL, head_dim=16, **OWN), EXACT),
    "olmo": ("Olmo", dict(SMALL, **OWN), EXACT),
    "olmo2": ("Olmo2", dict(SMALL, **OWN), EXACT),
    "olmo3": ("Olmo3", dict(SMALL, **OWN, num_hidden_layers=5, sliding_window=8), EXACT),
    "olmo3 yarn": ("Olmo3", dict(SMALL, **OWN, num_hidden_layers=4, sliding_window=8, rope_parameters=dict(
        full_attention=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32, rope_theta=1e4),
        sliding_attention=dict(rope_type="default", rope_theta=1e4))), EXACT),
    "exaone4": ("Exaone4", dict(SMALL, **OWN, sliding_window=None, layer_types=["full_attention"] * 2, **LLAMA3),
                EXACT),
    "exaone4 hybrid": ("Exaone4", dict(SMALL, **TIED, num_hidden_layers=64, sliding_window=8), EXACT),
    "glm4": ("Glm4", dict(WIDE, **OWN, attention_bias=True), EXACT),
    "glm4 bare": ("Glm4", dict(WIDE, **OWN, attention_bias=False), EXACT),
    "starcoder2": ("Starcoder2", dict(SMALL, **TIED, sliding_window=None), GELU),
    "stablelm": ("StableLm", dict(SMALL, **OWN, use_qkv_bias=True), EXACT),
    "stablelm parallel": ("StableLm", dict(SMALL, **OWN, use_parallel_residual=True), EXACT),
    "cohere": ("Cohere", dict(SMALL, **TIED, logit_scale=0.25), EXACT),
    "cohere2": ("Cohere2", dict(SMALL, **TIED, num_hidden_layers=5, logit_scale=0.25, sliding_window=8), EXACT),
    "nemotron": ("Nemotron", dict(SMALL, **OWN), EXACT),
    "gpt2": ("GPT2LMHead", dict(GPT), GELU),
    "gpt_neox": ("GPTNeoX", dict(SMALL, **OWN, rotary_pct=0.5), GELU),
    "gpt_neox sequential": ("GPTNeoX", dict(SMALL, **OWN, use_parallel_residual=False), GELU),
    "falcon": ("Falcon", dict(SMALL, multi_query=True, bias=False, alibi=False), GELU),
    "mixtral": ("Mixtral", dict(WIDE, **OWN, num_local_experts=4, num_experts_per_tok=2), EXACT),
    "mixtral tied": ("Mixtral", dict(SMALL, **TIED, num_local_experts=3, num_experts_per_tok=1, **LLAMA3), EXACT),
    "qwen3_moe": ("Qwen3Moe", dict(WIDE, **OWN, moe_intermediate_size=96, num_experts=5, num_experts_per_tok=3,
                                   norm_topk_prob=True), EXACT),
    "qwen3_moe tied": ("Qwen3Moe", dict(WIDE, **TIED, moe_intermediate_size=64, num_experts=4, num_experts_per_tok=2,
                                        norm_topk_prob=True, **YARN), EXACT),
    "olmoe": ("Olmoe", dict(SMALL, **OWN, num_key_value_heads=4, num_experts=6, num_experts_per_tok=2,
                            rms_norm_eps=1e-5), EXACT),
    "olmoe all": ("Olmoe", dict(SMALL, **OWN, num_key_value_heads=4, num_experts=4, num_experts_per_tok=4,
                                rms_norm_eps=1e-5), EXACT),
    "ministral3": ("Ministral3", dict(WIDE, **OWN, **MINISTRAL), EXACT),
    "ministral3 mscale": ("Ministral3", dict(WIDE, **TIED, **rope(
        "yarn", factor=8.0, original_max_position_embeddings=16, mscale=1.0, mscale_all_dim=0.5, beta_fast=16.0,
        llama_4_scaling_beta=0.3)), EXACT),
    "hunyuan_dense": ("HunYuanDenseV1", dict(WIDE, **TIED), EXACT),
    "hunyuan_dense alpha": ("HunYuanDenseV1", dict(WIDE, **OWN, **rope("dynamic", factor=1.0, alpha=50.0),
                                                   max_position_embeddings=32768), EXACT),
    "apertus": ("Apertus", dict(SMALL, **OWN, **LLAMA3), EXACT),
    "apertus biased": ("Apertus", dict(SMALL, **OWN, attention_bias=True, **rope()), EXACT),
    "falcon grouped": ("Falcon", dict(SMALL, num_kv_heads=2, new_decoder_architecture=True, bias=False, alibi=False),
                       GELU),
}
# What the conversion does not know, or takes for something else.
UNCONVERTED = ["helium", "phi grouped", "gemma3 pattern"]
QUANTISED = ["mixtral", "qwen3_moe", "olmoe"]
SLICED = {"ffn": ["llama", "qwen2", "qwen3", "phi3", "granite", "smollm3", "gemma2", "gemma3", "olmo2", "glm4",
                  "exaone4", "starcoder2", "stablelm", "falcon", "gpt2", "cohere2", "mixtral", "qwen3_moe", "olmoe",
                  "ministral3", "hunyuan_dense", "apertus"],
          "k": ["llama", "mistral", "qwen2 yarn", "qwen3", "phi3", "granite", "smollm3 own", "seed_oss", "ernie4_5",
                "arcee", "mixtral", "qwen3_moe", "ministral3", "hunyuan_dense alpha", "apertus", "apertus biased"]}

SLICING = {"ffn": ["--ffn", 64], "k": ["--slice", 0.25, "--round", 8, "--shortcut", "none", "--head", "slice"]}
