"""One-shot compression by llm-compressor (PyPI: llmcompressor), over the windows that every method here sees."""

import argparse
from collections.abc import Callable

import torch
from datasets import Dataset
from llmcompressor import oneshot
from transformers import PreTrainedModel

import cost
import models
import windows


def arguments(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("out")
    windows.add_arguments(parser)
    return parser.parse_args()


def compressed(given: argparse.Namespace, recipe_of: Callable) -> tuple[PreTrainedModel, dict]:
    """The model of `given`, compressed by recipe_of(model), as a plain one; and what making it took."""
    model = models.load(given.model, "cpu")
    tokens = windows.calibration(models.load_tokenizer(given.model), given.calibration, given.samples, given.context)
    making = cost.Making("cuda" if torch.cuda.is_available() else "cpu")
    compress(model, recipe_of(model), tokens)
    measured = making.measured()
    return unpacked(model, given.model), measured


def compress(model: PreTrainedModel, recipe, tokens: torch.Tensor) -> None:
    """Changes the weights in place; quantised ones are kept unpacked. tokens: (N, T), as they are, in their order.

    The model comes from the host: llm-compressor puts it on a card, where there is one, layer by layer.
    """
    rows = tokens.tolist()
    data = Dataset.from_dict({"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]})
    oneshot(model=model, dataset=data, recipe=recipe, max_seq_length=tokens.shape[1],
            num_calibration_samples=len(rows), shuffle_calibration_samples=False)


def unpacked(model: PreTrainedModel, source: str) -> PreTrainedModel:
    """A plain model of `source` with the block matrices of `model`, which has scales and its own way to be saved."""
    plain = models.load(source, "cpu")
    with torch.no_grad():
        for name, module in models.block_matrices(plain).items():
            module.weight.copy_(model.get_submodule(name).weight)
    return plain
