"""evaluate."""

import os

import torch

from . import _slice
from .model import context_of, model_of, paths_of


def _score(model, text, context, windows, stride, on_progress):
    if isinstance(text, torch.Tensor):
        return _slice.score_windows(model._held, text, on_progress)
    if stride is not None:
        tokens = _slice.whole_text(model._held, text, None)
        return _slice.score_text(model._held, tokens, context, stride, on_progress)
    tokens, _ = _slice.mix_windows(model._held, [text], context, windows, True, None)
    return _slice.score_windows(model._held, tokens, on_progress)


def evaluate(model, *, perplexity=None, tasks=(), task_dir=None, context=None, windows=None, stride=None, limit=None,
             device="auto", dtype="keep", on_progress=None):
    """How well a model predicts texts and answers questions, as a dict.

    model        a Model, or what slice_model takes for one
    perplexity   a text file or several, or windows of token ids (N, T) int64
    context      tokens of a window: 2048, or the model's context where that is shorter
    windows      of a text at most, the first ones
    stride       score the whole text in windows that begin so many tokens after one another
    tasks        names of zero-shot tasks, whose files are in the folder task_dir (docs/evaluation.md)
    limit        questions of a task at most

    {"perplexity": …, "log_likelihood": …, "tokens_scored": …, "seconds": …} of one text; of several a dict of these
    by path under "texts"; of tasks a dict of metrics by name under "tasks".
    Raises ArgumentError, FormatError, NumericError, ShapeError.
    """
    model = model_of(model, device=device, dtype=dtype)
    if isinstance(tasks, str):
        tasks = tasks.split(",")
    if perplexity is None and not tasks:
        raise _slice.ArgumentError("evaluate: want perplexity, tasks or both")
    if tasks and task_dir is None:
        raise _slice.ArgumentError("evaluate: tasks want task_dir, the folder with their files")
    texts = [perplexity] if isinstance(perplexity, torch.Tensor) else [] if perplexity is None else paths_of(perplexity)
    length = context_of(model, context)
    scores = [_score(model, text, length, windows, stride, on_progress) for text in texts]
    result = dict(scores[0]) if len(scores) == 1 else {}
    if len(scores) > 1:
        result["texts"] = dict(zip(texts, scores))
    if tasks:
        result["tasks"] = {name: _slice.evaluate_task(model._held, name, os.fspath(task_dir), limit, on_progress)
                           for name in tasks}
    return result
