"""The published SliceGPT code (microsoft/TransformerCompression), imported from a checkout that the caller names.

Nothing of it is kept here. What it asks of packages that slicing does not use is filled with stand-ins, and what it
asks of Transformers 4.41 is translated for later versions, so that only torch and transformers must be installed.
"""
import contextlib
import importlib
import math
import pathlib
import sys
import types

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

transformers.logging.set_verbosity_error()  # of the names that it has moved since

SHAPES = {  # hidden, layers, heads, kv heads, FFN, vocabulary, tied; "tiny" is for trying a checkout on a CPU
    "tiny": (64, 3, 4, 2, 176, 320, False),
    "smollm2-135m": (576, 30, 9, 3, 1536, 49152, True),
    "llama2-7b": (4096, 32, 32, 32, 11008, 32000, False),
    "llama2-13b": (5120, 40, 40, 40, 13824, 32000, False),
    "llama2-70b": (8192, 80, 64, 8, 28672, 32000, False),
}


def kept(hidden):
    """What a 25 % slice keeps, rounded as the published program and ours round it."""
    return hidden * 3 // 4 // 8 * 8


def load(checkout, device):
    """The modules of the checkout that slicing needs."""
    source = pathlib.Path(checkout).expanduser() / "src" / "slicegpt"
    if not (source / "rotate.py").is_file():
        sys.exit(f"{checkout}: no src/slicegpt/rotate.py; want a checkout of microsoft/TransformerCompression")
    package = types.ModuleType("slicegpt")  # its own __init__ imports data sets and accelerate
    package.__path__ = [str(source)]
    sys.modules["slicegpt"] = package
    try:
        import ml_collections  # noqa: F401
    except ImportError:  # it only holds the device
        sys.modules["ml_collections"] = types.SimpleNamespace(ConfigDict=types.SimpleNamespace)
    names = {"config": "config", "rotate": "rotate", "fusion": "layernorm_fusion", "signals": "model_utils",
             "scheduler": "slicing_scheduler", "llama": "adapters.llama_adapter"}
    code = types.SimpleNamespace(**{k: importlib.import_module("slicegpt." + v) for k, v in names.items()})
    code.config.config.device = torch.device(device)
    return code


@contextlib.contextmanager
def _no_initial_values():
    """Layers are made on the device and filled afterwards: torch's own random start would cost seconds a layer."""
    linear, embedding = torch.nn.Linear.reset_parameters, torch.nn.Embedding.reset_parameters
    torch.nn.Linear.reset_parameters = torch.nn.Embedding.reset_parameters = lambda self: None
    try:
        yield
    finally:
        torch.nn.Linear.reset_parameters, torch.nn.Embedding.reset_parameters = linear, embedding


@torch.no_grad()
def dense_model(shape, layers, device, dtype=torch.float16):
    """A LLaMA of the shape on the device; values distributed as those of benchmarks/bench_slicing.cpp."""
    hidden, depth, heads, kv_heads, ffn, vocabulary, tied = SHAPES[shape]
    config = LlamaConfig(hidden_size=hidden, num_hidden_layers=layers or depth, num_attention_heads=heads,
                         num_key_value_heads=kv_heads, intermediate_size=ffn, vocab_size=vocabulary,
                         tie_word_embeddings=tied, max_position_embeddings=4096, use_cache=False)
    config.torch_dtype = dtype
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device), _no_initial_values():
            model = LlamaForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(before)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.normal_(1, 0.02)
        else:
            parameter.normal_(0, 1 / math.sqrt(parameter.shape[-1]))
    return model


def _translate_attention(attention):
    """Transformers of before 4.48 return three things from attention, which the published layer unpacks; later ones
    two, and they name the cache otherwise. There is no cache here."""
    forward = attention.forward

    def three(*arguments, past_key_value=None, output_attentions=False, use_cache=False, **more):
        results = forward(*arguments, **more)
        return results if len(results) == 3 else (*results, None)

    attention.forward = three


@torch.no_grad()
def fused(code, model, device):
    """The checkout's adapter of the model, its layers replaced and its norms fused by the checkout."""
    adapter = code.llama.LlamaModelAdapter(model)
    adapter.use_cache = False
    with torch.device(device), _no_initial_values():
        code.fusion.replace_layers(adapter, verbose=False)
        code.fusion.fuse_modules(adapter)
    for layer in adapter.get_layers():
        _translate_attention(layer.layer.self_attn)
    return adapter


def batch_of(vocabulary, windows, length):
    """Random tokens, as the published loader hands them on."""
    return {"input_ids": torch.randint(vocabulary, (windows, length)),
            "attention_mask": torch.ones(windows, length, dtype=torch.long)}
