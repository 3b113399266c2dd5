"""generate, and what a prompt may be."""

from . import _slice
from .model import model_of


def prompt_ids(model, prompt):
    """Ids of a text, of a conversation (a list of messages), or themselves."""
    if isinstance(prompt, str):
        return model.encode(prompt)
    prompt = prompt.flatten().tolist() if hasattr(prompt, "tolist") else list(prompt)
    return model.encode_chat(prompt) if prompt and isinstance(prompt[0], dict) else prompt


def generate(model, prompt, *, max_tokens=128, temperature=0.0, top_p=1.0, seed=0, ignore_end_tokens=False,
             on_text=None, device="auto", dtype="keep"):
    """Continues a prompt, and gives the new text; of a model without a tokenizer the new ids.

    model        a Model, or what slice_model takes for one
    prompt       a text; a conversation [{"role": "user", "content": "…"}], to be answered; or token ids
    temperature  0 takes the most likely token
    on_text      called with each piece of text as it comes (an id, without a tokenizer); False ends the text
    Raises ArgumentError, FormatError, NumericError.
    """
    model = model_of(model, device=device, dtype=dtype)
    text, ids = _slice.generate(model._held, prompt_ids(model, prompt), max_tokens, temperature, top_p, seed,
                                ignore_end_tokens, on_text)
    return text if model.description["tokenizer"] else ids
