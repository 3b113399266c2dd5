"""Writes published_configs.json: configurations of published models as save_pretrained writes them, and the number of
parameters that Transformers gives each, a tied head counted once.

Usage: python make_published_configs.py        (torch, transformers; CPU, no weights, under a minute)

Sizes are those of the models' own config.json on the Hugging Face hub, under the name given.
"""

import json
import pathlib

import torch
import transformers
from transformers import AutoModelForCausalLM

HERE = pathlib.Path(__file__).parent
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 8192, "rope_theta": 500000.0}


def sizes(hidden, ffn, layers, heads, kv_heads, vocabulary, **more):
    return dict(hidden_size=hidden, intermediate_size=ffn, num_hidden_layers=layers, num_attention_heads=heads,
                num_key_value_heads=kv_heads, vocab_size=vocabulary, **more)


MODELS = {
    "meta-llama/Llama-2-7b-hf": ("LlamaConfig", sizes(4096, 11008, 32, 32, 32, 32000, max_position_embeddings=4096)),
    "meta-llama/Llama-3.1-8B": ("LlamaConfig", sizes(4096, 14336, 32, 32, 8, 128256, max_position_embeddings=131072,
                                                     rope_parameters=LLAMA3)),
    "meta-llama/Llama-3.2-1B": ("LlamaConfig", sizes(2048, 8192, 16, 32, 8, 128256, head_dim=64, tie_word_embeddings=True,
                                                     max_position_embeddings=131072, rope_parameters={**LLAMA3, "factor": 32.0})),
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": ("LlamaConfig", sizes(2048, 5632, 22, 32, 4, 32000)),
    "HuggingFaceTB/SmolLM2-135M": ("LlamaConfig", sizes(576, 1536, 30, 9, 3, 49152, tie_word_embeddings=True)),
    "mistralai/Mistral-7B-v0.3": ("MistralConfig", sizes(4096, 14336, 32, 32, 8, 32768, sliding_window=None)),
    "mistralai/Mistral-Small-24B-Instruct-2501": ("MistralConfig", sizes(5120, 32768, 40, 32, 8, 131072, head_dim=128,
                                                                         sliding_window=None)),
    "mistralai/Ministral-8B-Instruct-2410": ("MistralConfig", sizes(4096, 12288, 36, 32, 8, 131072, head_dim=128,
                                                                    sliding_window=32768)),
    "Qwen/Qwen2.5-0.5B": ("Qwen2Config", sizes(896, 4864, 24, 14, 2, 151936, tie_word_embeddings=True)),
    "Qwen/Qwen2.5-7B": ("Qwen2Config", sizes(3584, 18944, 28, 28, 4, 152064)),
    "Qwen/Qwen3-0.6B": ("Qwen3Config", sizes(1024, 3072, 28, 16, 8, 151936, head_dim=128, tie_word_embeddings=True)),
    "Qwen/Qwen3-8B": ("Qwen3Config", sizes(4096, 12288, 36, 32, 8, 151936, head_dim=128)),
    "microsoft/phi-2": ("PhiConfig", sizes(2560, 10240, 32, 32, 32, 51200, partial_rotary_factor=0.4)),
    "microsoft/Phi-3-mini-4k-instruct": ("Phi3Config", sizes(3072, 8192, 32, 32, 32, 32064, sliding_window=2047,
                                                             max_position_embeddings=4096)),
    "microsoft/phi-4": ("Phi3Config", sizes(5120, 17920, 40, 40, 10, 100352, max_position_embeddings=16384,
                                            pad_token_id=100349, bos_token_id=100257, eos_token_id=100265)),
    "HuggingFaceTB/SmolLM3-3B": ("SmolLM3Config", sizes(2048, 11008, 36, 16, 4, 128256, tie_word_embeddings=True)),
    "ibm-granite/granite-3.3-2b-instruct": ("GraniteConfig", sizes(
        2048, 8192, 40, 32, 8, 49159, tie_word_embeddings=True, embedding_multiplier=12.0, residual_multiplier=0.22,
        attention_multiplier=0.015625, logits_scaling=8.0)),
    "google/gemma-2b": ("GemmaConfig", sizes(2048, 16384, 18, 8, 1, 256000, head_dim=256)),
    "google/gemma-2-2b": ("Gemma2Config", sizes(2304, 9216, 26, 8, 4, 256000, head_dim=256)),
    "google/gemma-3-270m": ("Gemma3TextConfig", sizes(640, 2048, 18, 4, 1, 262144, head_dim=256, sliding_window=512)),
    "google/gemma-3-1b-it": ("Gemma3TextConfig", sizes(1152, 6912, 26, 4, 1, 262144, head_dim=256, sliding_window=512)),
    "allenai/OLMo-2-0425-1B": ("Olmo2Config", sizes(2048, 8192, 16, 16, 16, 100352)),
    "allenai/OLMo-2-1124-7B": ("Olmo2Config", sizes(4096, 11008, 32, 32, 32, 100352)),
    "allenai/Olmo-3-1025-7B": ("Olmo3Config", sizes(4096, 11008, 32, 32, 32, 100278, sliding_window=4096)),
    "THUDM/GLM-4-9B-0414": ("Glm4Config", sizes(4096, 13696, 40, 32, 2, 151552, head_dim=128)),
    "LGAI-EXAONE/EXAONE-4.0-1.2B": ("Exaone4Config", sizes(2048, 4096, 30, 32, 8, 102400, tie_word_embeddings=True,
                                                           layer_types=["full_attention"] * 30, sliding_window=None)),
    "ByteDance-Seed/Seed-OSS-36B-Base": ("SeedOssConfig", sizes(5120, 27648, 64, 80, 8, 155136, head_dim=128,
                                                                attention_bias=True)),
    "arcee-ai/AFM-4.5B": ("ArceeConfig", sizes(2560, 18432, 36, 20, 4, 128004, head_dim=128)),
    "facebook/opt-125m": ("OPTConfig", dict(hidden_size=768, ffn_dim=3072, num_hidden_layers=12, num_attention_heads=12,
                                            word_embed_proj_dim=768, vocab_size=50272)),
    "openai-community/gpt2": ("GPT2Config", dict(n_embd=768, n_layer=12, n_head=12, vocab_size=50257)),
    "openai-community/gpt2-xl": ("GPT2Config", dict(n_embd=1600, n_layer=48, n_head=25, vocab_size=50257)),
    "EleutherAI/pythia-160m": ("GPTNeoXConfig", dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
                                                     num_attention_heads=12, vocab_size=50304)),
    "EleutherAI/pythia-6.9b": ("GPTNeoXConfig", dict(hidden_size=4096, intermediate_size=16384, num_hidden_layers=32,
                                                     num_attention_heads=32, vocab_size=50432)),
    "EleutherAI/gpt-j-6b": ("GPTJConfig", dict(n_embd=4096, n_layer=28, n_head=16, rotary_dim=64, vocab_size=50400)),
    "stabilityai/stablelm-2-1_6b": ("StableLmConfig", sizes(2048, 5632, 24, 32, 32, 100352, use_qkv_bias=True,
                                                            partial_rotary_factor=0.25)),
    "bigcode/starcoder2-3b": ("Starcoder2Config", sizes(3072, 12288, 30, 24, 2, 49152, use_bias=True,
                                                        sliding_window=4096)),
    "tiiuae/falcon-7b": ("FalconConfig", dict(hidden_size=4544, num_hidden_layers=32, num_attention_heads=71,
                                              vocab_size=65024, multi_query=True, parallel_attn=True, bias=False)),
    "CohereLabs/c4ai-command-r-v01": ("CohereConfig", sizes(8192, 22528, 40, 64, 64, 256000, logit_scale=0.0625)),
    "CohereLabs/c4ai-command-r7b-12-2024": ("Cohere2Config", sizes(4096, 14336, 32, 32, 8, 256000, logit_scale=0.25)),
    "nvidia/Minitron-4B-Base": ("NemotronConfig", sizes(3072, 9216, 32, 24, 8, 256000, head_dim=128)),
    "allenai/OLMo-1B-0724-hf": ("OlmoConfig", sizes(2048, 8192, 16, 16, 16, 50304, tie_word_embeddings=True)),
    "mistralai/Mixtral-8x7B-v0.1": ("MixtralConfig", sizes(4096, 14336, 32, 32, 8, 32000)),
    "Qwen/Qwen3-30B-A3B": ("Qwen3MoeConfig", sizes(2048, 6144, 48, 32, 4, 151936, head_dim=128, num_experts=128,
                                                   num_experts_per_tok=8, moe_intermediate_size=768, norm_topk_prob=True)),
    "allenai/OLMoE-1B-7B-0924": ("OlmoeConfig", sizes(2048, 1024, 16, 16, 16, 50304, num_experts=64,
                                                      num_experts_per_tok=8)),
    "mistralai/Ministral-3-8B-Base-2512": ("Ministral3Config", sizes(4096, 14336, 34, 32, 8, 131072, head_dim=128)),
    "swiss-ai/Apertus-8B-Instruct-2509": ("ApertusConfig", sizes(4096, 21504, 32, 32, 8, 131072)),
}


def main():
    written = []
    for name, (kind, settings) in MODELS.items():
        config = getattr(transformers, kind)(**settings)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        model.tie_weights()
        count = sum({id(p): p.numel() for p in model.parameters()}.values())
        config.architectures = [type(model).__name__]
        written.append({"name": name, "parameters": count, "config": json.loads(config.to_json_string())})
        print(f"{name:45} {count:>15,}")
    lines = ",\n".join(json.dumps(entry, sort_keys=True) for entry in written)
    (HERE / "published_configs.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
