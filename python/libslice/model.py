"""Models in memory: loaded, saved, and handed to and from Transformers."""

import json
import os

from . import _slice


def _config_json(config):
    """JSON of a Transformers configuration, of its dict, or as it is."""
    if isinstance(config, str):
        return config
    if hasattr(config, "to_dict"):
        config = config.to_dict()
    return json.dumps(config, default=str)


class Model:
    """A language model that libslice holds: its weights, its configuration and, where it came with one, its tokenizer.

    Any number of threads may evaluate it and generate with it at the same time. While it is sliced nobody else may,
    and is refused.
    """

    def __init__(self, config, state_dict, *, tokenizer=None, device="auto", dtype="keep"):
        """Of tensors in memory, which are copied: slicing leaves the given ones as they are.

        config      a Transformers configuration, its dict, or the text of a config.json
        state_dict  tensors by Transformers' names
        tokenizer   a folder (or GGUF file) with the tokenizer's files; without one the model takes and gives token ids
        device      "auto": the first GPU where there is one, else "cpu"; "cuda", "cuda:1"
        dtype       of the weights in memory: "fp32", "fp16", "bf16"; "keep": float32 on the CPU, as stored on a GPU
        Raises FormatError, NumericError, DeviceError.
        """
        self._held = _slice.Model.from_tensors(_config_json(config), dict(state_dict),
                                               None if tokenizer is None else os.fspath(tokenizer), device, dtype)
        self.name = getattr(config, "_name_or_path", "") or ""

    @classmethod
    def load(cls, path, *, device="auto", dtype="keep"):
        """The model at a path: a Hugging Face directory, a .gguf, or a llama2.c .bin. Ctrl-C is heard after it is read.

        Raises FormatError, NumericError, DeviceError.
        """
        model = cls.__new__(cls)
        model._held = _slice.Model.load(os.fspath(path), device, dtype)
        model.name = os.path.basename(os.path.abspath(path))
        return model

    def save(self, directory, *, dtype="keep", replace=False, on_progress=None):
        """Saves it as a Hugging Face directory, which is there whole or not at all.

        dtype    of the stored weights; "keep": the source's
        replace  whether a directory that exists is replaced, or an Error
        """
        self._held.save(os.fspath(directory), dtype, replace, on_progress)

    def save_gguf(self, path, *, type="keep", replace=False):
        """Saves it as a GGUF file for llama.cpp, its matrices as "f32", "f16", "bf16" or "q8_0"."""
        self._held.save_gguf(os.fspath(path), type, replace)

    def state_dict(self, dtype="keep"):
        """What Transformers loads: the dict of its configuration, and tensors by name.

        The tensors may share memory with this model. Where `stock` is false the configuration is that of the Python
        file that save() writes, and Transformers loads the saved directory alone.
        """
        config, tensors = self._held.tensors(dtype)
        return json.loads(config), tensors

    def logits(self, tokens):
        """Logits (B, T, V) of token ids (B, T) int64, in one forward pass."""
        return self._held.logits(tokens)

    def encode(self, text):
        """Ids of a text to be continued, with the token that texts of this model begin with, if there is one."""
        return self._held.encode(text)

    def encode_chat(self, messages):
        """Ids of a conversation, [{"role": "user", "content": "…"}, …], by the model's chat template."""
        return self._held.encode_messages(json.dumps(messages))

    def decode(self, ids, *, special=False):
        """The text of ids, without special tokens unless `special`; U+FFFD for what is no character."""
        return self._held.decode(ids, special)

    @property
    def description(self):
        """Family, sizes, parameters as stored, whether it is sliced and whether unmodified Transformers loads it
        (stock), device and dtype, as a dict."""
        return self._held.description()

    def __repr__(self):
        d = self.description
        return f"<libslice.Model {self.name or d['family']}: {d['parameters']:,} parameters on {d['device']}>"


def load_model(path, *, device="auto", dtype="keep"):
    """Model.load()."""
    return Model.load(path, device=device, dtype=dtype)


def model_of(source, *, tokenizer=None, device="auto", dtype="keep"):
    """The Model that is meant: itself, one at a path, of (config, state dict), or of a model of Transformers."""
    if isinstance(source, Model):
        return source
    if isinstance(source, (str, os.PathLike)):
        return Model.load(source, device=device, dtype=dtype)
    if hasattr(source, "config") and hasattr(source, "state_dict"):
        source = source.config, source.state_dict()
    config, state_dict = source
    return Model(config, state_dict, tokenizer=tokenizer, device=device, dtype=dtype)


def context_of(model, context):
    """Tokens of a window: as asked for, else 2048 or the model's own context where that is shorter."""
    if context is not None:
        return context
    d = model.description
    return max(2, min(2048, d["context_length"], d["positions"]))


def paths_of(texts):
    """A path or several, as strings."""
    return [os.fspath(texts)] if isinstance(texts, (str, os.PathLike)) else [os.fspath(text) for text in texts]
