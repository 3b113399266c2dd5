"""Sliced language models in Transformers, as libslice writes them.

A sliced model is its family's own network with a width of its own for the residual stream at every site. A site is the
input of a norm: two a layer (one in a parallel block) and one before the head. config.json adds to the family's keys

  stream_sizes    width k at each site; absent where only FFN channels were removed. hidden_size stays the width D of the
                  unsliced model: every norm is x / sqrt(sum(x^2) / D + eps), without weights
  shortcut        what maps the stream from one site's basis to the next site's:
                  "dense"     a matrix everywhere             "diagonal"  alternately a vector and a matrix
                  "lowrank"   identity + up down              "none"      nothing
                  Before a last site that keeps all of D, forms other than dense pad the stream with zeros instead
  shortcut_rank   rank of "lowrank"
  ffn_sizes       FFN width of each layer, where they differ

A tied head (tie_word_embeddings) of a sliced model has a linear map before it, lm_head.map: from the basis of the last site
to that of the first one, in which the embedding is.

Attention, rotary positions, masks and caches are those of Transformers; residual dropout is left out. Load with

  AutoModelForCausalLM.from_pretrained(directory, trust_remote_code=True)
"""

import importlib
import inspect

import torch
from torch import nn
from torch.nn import functional
from transformers.activations import ACT2FN
from transformers.pytorch_utils import Conv1D


class SlicedNorm(nn.Module):
    """x / rms(x) where deleted coordinates count as zero: the divisor is the unsliced width."""

    def __init__(self, hidden_size, eps):
        super().__init__()
        self.hidden_size, self.eps = hidden_size, eps

    def forward(self, x):  # (..., k)
        wide = x if x.dtype == torch.float64 else x.float()
        squares = wide.square().sum(-1, keepdim=True) / self.hidden_size
        return (wide * torch.rsqrt(squares + self.eps)).to(x.dtype)


class Shortcut(nn.Module):
    """The residual connection around a sublayer: x (..., k_in), what the sublayer wrote r (..., k_out) -> (..., k_out)."""

    def __init__(self, form, k_in, k_out, rank):
        super().__init__()
        self.form, self.widens = form, k_out - k_in
        if form == "dense":
            self.weight = nn.Parameter(torch.empty(k_out, k_in))
        elif form == "diagonal":
            self.weight = nn.Parameter(torch.empty(min(k_in, k_out)))
        elif form == "lowrank":
            self.down = nn.Parameter(torch.empty(rank, k_in))
            self.up = nn.Parameter(torch.empty(k_out, rank))

    def forward(self, x, r):
        if self.form == "dense":
            return functional.linear(x, self.weight) + r
        if self.form == "diagonal":
            return x * self.weight + r
        if self.form == "lowrank":
            r = r + functional.linear(functional.linear(x, self.down), self.up)
        return (functional.pad(x, (0, self.widens)) if self.widens else x) + r


def shortcut(config, sublayer, k_in, k_out):
    """The residual connection around one of the model's sublayers."""
    form = config.shortcut if config.stream_sizes else "none"
    if form != "dense" and k_in < k_out:
        form = "none"
    if form == "diagonal" and sublayer % 2:
        form = "dense"
    return Shortcut(form, k_in, k_out, config.shortcut_rank)


def sliced_norm(config, norm):
    """What is left of a norm once its weights are in its readers, and its mean in what writes the stream."""
    return SlicedNorm(config.hidden_size, norm.eps if hasattr(norm, "eps") else
                      getattr(norm, "variance_epsilon", 1e-5))  # OLMo's is a constant


def shifts(norm):
    """Whether a norm adds something, which becomes a bias of what reads it."""
    return getattr(norm, "bias", None) is not None


def resize(module, name, k_in=None, k_out=None, bias=False):
    """Gives the linear layer module.name other widths, and a bias where it has none."""
    old = getattr(module, name)
    if isinstance(old, Conv1D):
        setattr(module, name, Conv1D(k_out or old.nf, k_in or old.weight.shape[0]))
        return
    setattr(module, name,
            nn.Linear(k_in or old.in_features, k_out or old.out_features, bias=bias or old.bias is not None))


class SlicedLayer:
    """A family's decoder layer with the widths of its sites, and shortcuts in place of the residual additions."""

    sublayers = 2
    shortcuts = ("attention_shortcut", "mlp_shortcut")
    norms = ("input_layernorm", "post_attention_layernorm")
    attention_name, attention_input, output = "self_attn", ("q_proj", "k_proj", "v_proj"), "o_proj"
    mlp_input, mlp_output = ("gate_proj", "up_proj"), "down_proj"
    fused = 1  # parts of a layer of mlp_input

    def __init__(self, config, layer_idx):
        super().__init__(config, layer_idx)
        sizes = config.stream_sizes or [config.hidden_size] * (self.sublayers * config.num_hidden_layers + 1)
        first = self.sublayers * layer_idx
        last = first + self.sublayers - 1  # the feed-forward's; attention's too in a parallel block
        self.scale = getattr(config, "residual_multiplier", 1)
        moved = bool(config.stream_sizes) and shifts(getattr(self, self.norms[0]))
        for name in self.attention_input:
            resize(getattr(self, self.attention_name), name, k_in=sizes[first], bias=moved)
        resize(getattr(self, self.attention_name), self.output, k_out=sizes[first + 1])
        self.resize_mlp(config, layer_idx, sizes[last], sizes[last + 1], moved)
        for name in self.norms if config.stream_sizes else ():
            setattr(self, name, sliced_norm(config, getattr(self, name)))
        for i, name in enumerate(self.shortcuts):
            setattr(self, name, shortcut(config, first + i, sizes[first + i], sizes[first + i + 1]))

    def resize_mlp(self, config, layer_idx, k_in, k_out, moved):
        ffn = config.ffn_sizes[layer_idx] if config.ffn_sizes else None
        for name in self.mlp_input:
            resize(self.feed_forward, name, k_in=k_in, k_out=ffn and self.fused * ffn, bias=moved)
        resize(self.feed_forward, self.mlp_output, k_in=ffn, k_out=k_out, bias=moved)

    @property
    def feed_forward(self):
        return self.mlp

    def run_mlp(self, x):
        return self.mlp(x)

    def forward(self, hidden_states, *args, **kwargs):
        kwargs.update(zip(self.positional, args))
        normed = getattr(self, self.norms[0])(hidden_states)
        attended = getattr(self, self.attention_name)(hidden_states=normed, **kwargs)
        if self.sublayers == 1:
            if len(self.norms) == 2:
                normed = getattr(self, self.norms[1])(hidden_states)
            return self.outputs(self.block_shortcut(hidden_states, attended[0] + self.run_mlp(normed)), attended, kwargs)
        x = self.attention_shortcut(hidden_states, attended[0] * self.scale)
        written = self.run_mlp(getattr(self, self.norms[1])(x)) * self.scale
        return self.outputs(self.mlp_shortcut(x, written), attended, kwargs)

    def outputs(self, x, attended, kwargs):
        """What this Transformers expects of a layer: the stream, or in versions 4 a tuple that begins with it."""
        if not self.returns_tuple:
            return x
        weights = attended[1:2] if kwargs.get("output_attentions") else ()
        return (x, *weights, *attended[2:])


class SlicedOPTLayer(SlicedLayer):
    norms = ("self_attn_layer_norm", "final_layer_norm")
    output, mlp_input, mlp_output = "out_proj", ("fc1",), "fc2"

    @property
    def feed_forward(self):
        return self

    def run_mlp(self, x):
        return self.fc2(self.activation_fn(self.fc1(x)))


class SlicedUngatedLayer(SlicedLayer):
    mlp_input = ("up_proj",)


class SlicedApertusLayer(SlicedUngatedLayer):
    norms = ("attention_layernorm", "feedforward_layernorm")


class SlicedFusedLayer(SlicedLayer):
    attention_input, mlp_input, fused = ("qkv_proj",), ("gate_up_proj",), 2


class SlicedMixture(nn.Module):
    """A mixture of experts whose router and experts read k_in coordinates and write k_out, one module an expert."""

    def __init__(self, config, activation, names, k_in, k_out, ffn):
        super().__init__()
        self.names, self.activation, self.k_out = names, activation, k_out
        self.per_token, self.normalised = config.num_experts_per_tok, getattr(config, "norm_topk_prob", True)
        count = getattr(config, "num_local_experts", None) or config.num_experts
        self.gate = nn.Linear(k_in, count, bias=False)
        widths = ((k_in, ffn), (k_in, ffn), (ffn, k_out))
        self.experts = nn.ModuleList([nn.ModuleDict({
            name: nn.Linear(*width, bias=False) for name, width in zip(names, widths)}) for _ in range(count)])

    def forward(self, normed):  # (..., k_in)
        n = normed.flatten(0, -2)
        shares, chosen = torch.softmax(self.gate(n).float(), -1).topk(self.per_token, -1)
        if self.normalised:
            shares = shares / shares.sum(-1, keepdim=True)
        y = n.new_zeros(len(n), self.k_out)
        for number, expert in enumerate(self.experts):
            tokens, places = torch.where(chosen == number)
            gate, up, down = (expert[name] for name in self.names)
            own = n[tokens]
            written = down(self.activation(gate(own)) * up(own)) * shares[tokens, places, None]
            y.index_add_(0, tokens, written.to(y.dtype))
        return y.view(*normed.shape[:-1], self.k_out)


class SlicedMixtureLayer(SlicedLayer):
    """A layer with experts, under the names that files give them."""

    mixture_name, expert_names = "mlp", ("gate_proj", "up_proj", "down_proj")

    def resize_mlp(self, config, layer_idx, k_in, k_out, moved):
        ffn = config.ffn_sizes[layer_idx] if config.ffn_sizes else (
            getattr(config, "moe_intermediate_size", None) or config.intermediate_size)
        for name in ("mlp", "block_sparse_moe"):  # before and since Transformers 5
            self._modules.pop(name, None)
        setattr(self, self.mixture_name, SlicedMixture(
            config, ACT2FN[config.hidden_act], self.expert_names, k_in, k_out, ffn))

    def run_mlp(self, x):
        return getattr(self, self.mixture_name)(x)


class SlicedMixtralLayer(SlicedMixtureLayer):
    mixture_name, expert_names = "block_sparse_moe", ("w1", "w3", "w2")


class SlicedParallelLayer(SlicedLayer):
    sublayers = 1
    shortcuts = ("block_shortcut",)
    norms = ("input_layernorm",)


class SlicedPhiLayer(SlicedParallelLayer):
    output, mlp_input, mlp_output = "dense", ("fc1",), "fc2"


class SlicedStableLmLayer(SlicedLayer):
    def __init__(self, config, layer_idx):
        if config.use_parallel_residual:
            self.sublayers, self.shortcuts, self.norms = 1, ("block_shortcut",), ("input_layernorm",)
        super().__init__(config, layer_idx)


class SlicedStarcoder2Layer(SlicedLayer):
    mlp_input, mlp_output = ("c_fc",), "c_proj"


class SlicedGPT2Layer(SlicedLayer):
    norms = ("ln_1", "ln_2")
    attention_name, attention_input, output = "attn", ("c_attn",), "c_proj"
    mlp_input, mlp_output = ("c_fc",), "c_proj"


class SlicedGPTJLayer(SlicedParallelLayer):
    norms = ("ln_1",)
    attention_name, output = "attn", "out_proj"
    mlp_input, mlp_output = ("fc_in",), "fc_out"


class SlicedGPTNeoXLayer(SlicedLayer):
    attention_name, attention_input, output = "attention", ("query_key_value",), "dense"
    mlp_input, mlp_output = ("dense_h_to_4h",), "dense_4h_to_h"

    def __init__(self, config, layer_idx):
        if config.use_parallel_residual:
            self.sublayers, self.shortcuts = 1, ("block_shortcut",)
        super().__init__(config, layer_idx)


class SlicedFalconLayer(SlicedLayer):
    attention_name, attention_input, output = "self_attention", ("query_key_value",), "dense"
    mlp_input, mlp_output = ("dense_h_to_4h",), "dense_4h_to_h"

    def __init__(self, config, layer_idx):
        if config.parallel_attn:
            two = config.new_decoder_architecture and config.num_ln_in_parallel_attn != 1
            self.norms = ("ln_attn", "ln_mlp") if two else ("input_layernorm",)
            self.sublayers, self.shortcuts = 1, ("block_shortcut",)
        super().__init__(config, layer_idx)


def decoder_layer(base, kind=SlicedLayer):
    """The sliced layer of a family, from the family's own."""
    source = inspect.getsource(base.forward)
    returns_tuple = "return outputs" in source or "return output, " in source
    return type("Sliced" + base.__name__, (kind, base), {
        "returns_tuple": returns_tuple, "positional": list(inspect.signature(base.forward).parameters)[2:],
        "__module__": __name__})


class MappedHead(nn.Linear):
    """A tied head after the map from the basis of the last site to that of the embedding."""

    def __init__(self, last, first, vocabulary, bias, map_bias):
        super().__init__(first, vocabulary, bias=bias)
        self.map = nn.Linear(last, first, bias=map_bias)

    def forward(self, normed):  # (..., last)
        return super().forward(self.map(normed))


class SlicedModel:
    """A family's language model with sliced layers, embeddings and head."""

    layer = None  # class of its layers
    final_norm = "norm"
    head = "lm_head"  # in files

    def __init__(self, config):
        super().__init__(config)
        stack = getattr(self, self.base_model_prefix)
        stack = getattr(stack, "decoder", stack)
        setattr(stack, "layers" if hasattr(stack, "layers") else "h",
                nn.ModuleList([self.layer(config, i) for i in range(config.num_hidden_layers)]))
        if config.stream_sizes:
            first, last = config.stream_sizes[0], config.stream_sizes[-1]
            old = self.get_input_embeddings()
            scaled = getattr(old, "scalar_embed_scale", None)
            scale = {} if scaled is None else {"embed_scale": scaled}
            kind = nn.Embedding if scaled is None else type(old)
            self.set_input_embeddings(kind(config.vocab_size, first, old.padding_idx, **scale))
            for name in ("embed_positions", "wpe"):
                if isinstance(getattr(stack, name, None), nn.Embedding):
                    setattr(stack, name, type(getattr(stack, name))(config.max_position_embeddings, first))
            norm = getattr(stack, self.final_norm)
            setattr(stack, self.final_norm, sliced_norm(config, norm))
            # The bias of a last LayerNorm has become the head's, or that of its map.
            has_bias, moved = self.lm_head.bias is not None, shifts(norm)
            if config.tie_word_embeddings:
                self.lm_head = MappedHead(last, first, config.vocab_size, has_bias, moved)
            else:
                self.lm_head = nn.Linear(last, config.vocab_size, bias=has_bias or moved)
        if self.head != "lm_head":
            setattr(self, self.head, self._modules.pop("lm_head"))
        self.post_init()

    def tie_weights(self, missing_keys=None, **kwargs):
        """Transformers 5.3 takes a tied head of custom code for one that was in the file, and leaves it at random."""
        if missing_keys is None:
            return super().tie_weights(**kwargs)
        if self.config.tie_word_embeddings:
            missing_keys.add("lm_head.weight")
        return super().tie_weights(missing_keys=missing_keys, **kwargs)


class SlicedConfig:
    stream_sizes = None
    shortcut = "dense"
    shortcut_rank = None
    ffn_sizes = None


class SlicedNeoXModel(SlicedModel):
    """Transformers 5 renames the head of the family's own files alone."""

    head = "embed_out"
    _tied_weights_keys = {"embed_out.weight": "gpt_neox.embed_in.weight"}
    lm_head = property(lambda self: self.embed_out)


def define(model_type, name, layer, base=None, final_norm="norm", model="ForCausalLM", kind=SlicedModel):
    """Defines the classes of a family where this Transformers has it."""
    try:
        modeling = importlib.import_module(f"transformers.models.{model_type}.modeling_{model_type}")
    except ImportError:
        return
    sliced_layer = decoder_layer(getattr(modeling, base or f"{name}DecoderLayer"), layer)
    model_name = f"Sliced{name}{model}"
    config = type(model_name.removesuffix("ForCausalLM") + "Config",
                  (SlicedConfig, getattr(modeling, f"{name}Config")),
                  {"model_type": f"sliced_{model_type}", "__module__": __name__})
    model = type(model_name, (kind, getattr(modeling, f"{name}{model}")),
                 {"config_class": config, "layer": sliced_layer, "final_norm": final_norm,
                  "_no_split_modules": [sliced_layer.__name__], "__module__": __name__})
    globals().update({config.__name__: config, model.__name__: model})


define("apertus", "Apertus", SlicedApertusLayer)
define("arcee", "Arcee", SlicedUngatedLayer)
define("cohere", "Cohere", SlicedParallelLayer)
define("cohere2", "Cohere2", SlicedParallelLayer)
define("ernie4_5", "Ernie4_5", SlicedLayer)
define("falcon", "Falcon", SlicedFalconLayer, final_norm="ln_f")
define("gemma", "Gemma", SlicedLayer)
define("gpt2", "GPT2", SlicedGPT2Layer, "GPT2Block", "ln_f", "LMHeadModel")
define("gpt_neox", "GPTNeoX", SlicedGPTNeoXLayer, "GPTNeoXLayer", "final_layer_norm", kind=SlicedNeoXModel)
define("gptj", "GPTJ", SlicedGPTJLayer, "GPTJBlock", "ln_f")
define("granite", "Granite", SlicedLayer)
define("helium", "Helium", SlicedLayer)
define("hunyuan_v1_dense", "HunYuanDenseV1", SlicedLayer)
define("llama", "Llama", SlicedLayer)
define("ministral", "Ministral", SlicedLayer)
define("ministral3", "Ministral3", SlicedLayer)
define("mistral", "Mistral", SlicedLayer)
define("mixtral", "Mixtral", SlicedMixtralLayer)
define("nemotron", "Nemotron", SlicedUngatedLayer)
define("olmo", "Olmo", SlicedLayer)
define("olmoe", "Olmoe", SlicedMixtureLayer)
define("opt", "OPT", SlicedOPTLayer, final_norm="final_layer_norm")
define("phi", "Phi", SlicedPhiLayer, final_norm="final_layernorm")
define("phi3", "Phi3", SlicedFusedLayer)
define("qwen2", "Qwen2", SlicedLayer)
define("qwen3", "Qwen3", SlicedLayer)
define("qwen3_moe", "Qwen3Moe", SlicedMixtureLayer)
define("seed_oss", "SeedOss", SlicedLayer)
define("smollm3", "SmolLM3", SlicedLayer)
define("stablelm", "StableLm", SlicedStableLmLayer)
define("starcoder2", "Starcoder2", SlicedStarcoder2Layer)
