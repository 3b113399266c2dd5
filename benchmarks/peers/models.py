"""Hugging Face directories: a dense model read, its block matrices, a compressed one written unpacked in float16."""

import pathlib
import shutil

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

BESIDE = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "vocab.json",
          "merges.txt", "added_tokens.json", "chat_template.jinja", "generation_config.json")


def load(folder: str, device: str) -> PreTrainedModel:
    """In float32, in which every method here computes."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).to(device).eval()


def load_tokenizer(folder: str):
    return AutoTokenizer.from_pretrained(folder)


def block_matrices(model: PreTrainedModel) -> dict[str, torch.nn.Linear]:
    """Every linear layer of the decoder's blocks; neither embeddings nor the head."""
    head = model.get_output_embeddings()
    return {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)
            and module is not head}


def save(model: PreTrainedModel, source: str, folder: str) -> None:
    """A plain directory, as if nothing had been compressed, with the tokenizer of `source`."""
    model.to(torch.float16).save_pretrained(folder)
    for name in BESIDE:
        path = pathlib.Path(source) / name
        if path.exists():
            shutil.copy(path, folder)
