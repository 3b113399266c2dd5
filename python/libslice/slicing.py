"""slice_model."""

import json

import torch

from . import _slice
from .model import context_of, model_of, paths_of

_UNITS = {"GiB": 2**30, "MiB": 2**20, "": 1}


def _bytes(size):
    """24 * 2**30, or "24GiB"."""
    if isinstance(size, int):
        return size
    for unit, factor in _UNITS.items():
        number = size.removesuffix(unit) if unit else size
        if number != size or not unit:
            try:
                return int(float(number) * factor)
            except ValueError:
                break
    raise _slice.ArgumentError(f"fit: want a number of bytes or a size such as 24GiB, got {size}")


def _choice(name, value, values):
    if value not in values:
        raise _slice.ArgumentError(f"{name}: want {' or '.join(values)}, got {value}")
    return value


def _options(layers, *, remove, remove_blocks, fit, slice, ffn, method, layout, head, shortcut, keep_tie, round,
             gradient_samples, seed, recover, tf32):
    asked = [name for name, value in [("remove", remove), ("remove_blocks", remove_blocks), ("fit", fit),
                                      ("slice", slice)] if value is not None]
    if len(asked) > 1:
        raise _slice.ArgumentError(f"want one size, got {' and '.join(asked)}")
    options = _slice.SliceOptions()
    if _choice("method", method, ("refit", "slicegpt")) == "slicegpt":
        options.set_slicegpt()
    if _choice("layout", layout, ("stock", "free")) == "free":
        options.set_free_layout()
    if _choice("head", head, ("keep", "slice")) == "slice":
        options.set_sliced_head()
    if shortcut != "auto":
        name, _, rank = shortcut.partition(":")
        options.set_shortcut(name, int(rank) if rank.isdigit() else 0)
    if ffn is not None:
        options.ffn_sizes = [ffn] * layers if isinstance(ffn, int) else list(ffn)
    if slice is not None:
        options.slice = slice
    elif ffn is not None:
        options.slice = 0.0  # widths alone leave the hidden size as it is
    elif not asked and method == "refit":
        remove_blocks = 0.25
    options.remove, options.remove_blocks = remove, remove_blocks
    options.fit_bytes = None if fit is None else _bytes(fit)
    options.keep_tie, options.round, options.gradient_samples = keep_tie, round, gradient_samples
    options.seed, options.recover, options.tf32 = seed, recover, tf32
    return options


def _windows(model, calibration, weights, samples, context, seed, on_progress):
    """Windows (N, T), name and weight of each text, and the text of each window."""
    if isinstance(calibration, torch.Tensor):
        return calibration, [("", 0.0)], [0] * (len(calibration) if calibration.dim() else 0)
    context = context_of(model, context)
    if calibration is None:
        begin = model.description["begin"]
        if begin is None:
            raise _slice.ArgumentError("calibration: this model has no token to begin a text of its own with: "
                                       "want a text or windows of ids")
        tokens = _slice.self_windows(model._held, samples, context, begin, seed, on_progress)
        return tokens, [("self", 0.0)], [0] * len(tokens)
    paths = paths_of(calibration)
    weights = [0.0] * len(paths) if weights is None else list(weights)
    if len(weights) != len(paths):
        raise _slice.ArgumentError(f"calibration_weights: want one a text: {len(paths)}, got {len(weights)}")
    tokens, text_of = _slice.mix_windows(model._held, paths, context, samples, False, None)
    return tokens, list(zip(paths, weights)), text_of


def slice_model(model, calibration=None, *, remove_blocks=None, remove=None, fit=None, slice=None, ffn=None,
                method="refit", layout="stock", head="keep", shortcut="auto", keep_tie=False, round=None,
                calibration_weights=None, samples=128, context=None, gradient_samples=None, seed=0, recover=0,
                tf32=True, tokenizer=None, device="auto", dtype="keep", on_progress=None):
    """Slices a model, and gives (Model, report): the smaller model, and what slice_report.json says as a dict.

    model          a path, a pair (config, state dict), a model of Transformers, or a Model, which is sliced in place
    calibration    a text file or several, as slice_model's --calibration takes them; or windows of token ids (N, T)
                   int64; None: what the model writes itself
    remove_blocks  fraction of the block weights to remove; 0.25 where no size is given. In its place one of
    remove         fraction of all parameters as stored
    fit            memory of the target device: bytes, or "24GiB"
    slice          fraction of the hidden size; and with it or alone
    ffn            FFN channels that every layer keeps, or a list of one number a layer
    method, layout, head, shortcut, keep_tie, round, gradient_samples, seed, recover, tf32, calibration_weights,
    samples, context    as the program's flags
    tokenizer, device, dtype    of a model that is not one yet: as Model
    on_progress    called with a Progress between steps; what it raises ends the work, as does Ctrl-C. A Model that was
                   being sliced is of no use then

    Raises ArgumentError, ShapeError, FormatError, NumericError, DeviceError.
    """
    model = model_of(model, tokenizer=tokenizer, device=device, dtype=dtype)
    options = _options(model.description["layers"], remove=remove, remove_blocks=remove_blocks, fit=fit, slice=slice,
                       ffn=ffn, method=method, layout=layout, head=head, shortcut=shortcut, keep_tie=keep_tie,
                       round=round, gradient_samples=gradient_samples, seed=seed, recover=recover, tf32=tf32)
    tokens, texts, text_of = _windows(model, calibration, calibration_weights, samples, context, seed, on_progress)
    report = _slice.slice_model(model._held, tokens, texts, text_of, options, model.name, on_progress)
    return model, json.loads(report)
