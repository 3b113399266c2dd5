"""Calibration windows: the first tokens of texts, as `slice_model --order first` takes them."""

import argparse
import gzip
import lzma
import pathlib

import torch

OPENERS = {".xz": lzma.open, ".gz": gzip.open}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--calibration", action="append", required=True, metavar="TEXT")
    parser.add_argument("--samples", type=int, default=128, help="windows of each text")
    parser.add_argument("--context", type=int, default=2048)


def read_text(path: str) -> str:
    opener = OPENERS.get(pathlib.Path(path).suffix, open)
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        return file.read()


def first_windows(tokenizer, path: str, count: int, length: int) -> torch.Tensor:
    """(count, length) int64: windows of one text, one after the other. @raises ValueError  too short a text"""
    bos = [tokenizer.bos_token_id] if getattr(tokenizer, "add_bos_token", False) else []
    ids = bos + tokenizer(read_text(path), add_special_tokens=False, verbose=False).input_ids
    if len(ids) < count * length:
        raise ValueError(f"{path}: {len(ids)} tokens, want {count} windows of {length}")
    return torch.tensor(ids[:count * length]).view(count, length)


def calibration(tokenizer, paths: list[str], count: int, length: int) -> torch.Tensor:
    """(paths · count, length): `count` windows of every text; the texts take turns."""
    each = [first_windows(tokenizer, path, count, length) for path in paths]  # (count, length) each
    return torch.stack(each, dim=1).flatten(0, 1)
