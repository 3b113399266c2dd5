"""Engine: texts for many callers at a time."""

from . import _slice
from .generation import prompt_ids
from .model import model_of


class Request:
    """One request of an Engine. Iterating over it gives its pieces (TextPiece) as they come; one thread does."""

    def __init__(self, handle):
        self._handle = handle

    def pull(self, timeout=None):
        """The next piece, waiting for it; None where the time (seconds) is up, or all were given: see finished."""
        return self._handle.next(timeout)

    def __iter__(self):
        while (piece := self.pull()) is not None:
            yield piece

    @property
    def finished(self):
        """Whether all texts have ended and every piece was given."""
        return self._handle.finished()

    def cancel(self):
        """Ends its texts where they are; their last pieces come."""
        self._handle.cancel()

    def text(self):
        """Waits for the end, and gives the text, or a list of texts where several were asked for.

        Raises Error if a text failed.
        """
        texts = {}
        for piece in self:
            if piece.finish == "error":
                raise _slice.Error(piece.error)
            texts[piece.index] = texts.get(piece.index, "") + piece.text
        parts = [texts[index] for index in sorted(texts)]
        return parts[0] if len(parts) == 1 else parts

    @property
    def usage(self):
        """Tokens of the prompt, those of it that were reused, and tokens written so far, as a dict."""
        return self._handle.usage()


class Engine:
    """Runs texts of many threads at a time, each with the bits that generate() gives it (docs/serving.md).

    It is a context manager: at the end of a `with` it stops.
    """

    def __init__(self, models, *, slots=8, capacity=2048, queue=256, prompt_chunk=512, prefix_bytes=0, step_tokens=0,
                 threads=0, device="auto", dtype="keep"):
        """models    a Model (or what slice_model takes for one), or a dict of several by name
        slots     texts that run at the same time, of each model
        capacity  tokens of each, prompt included
        queue     requests that may wait
        prompt_chunk, prefix_bytes, step_tokens, threads    as in slice::EngineOptions
        While it runs its models cannot be sliced. Raises ArgumentError.
        """
        named = models if isinstance(models, dict) else {"": models}
        self._models = {}
        for name, model in named.items():
            model = model_of(model, device=device, dtype=dtype)
            self._models[name or model.name or "model"] = model
        self._engine = _slice.Engine([(name, model._held) for name, model in self._models.items()], slots, capacity,
                                     queue, prompt_chunk, prefix_bytes, step_tokens, threads)

    def submit(self, prompt, *, model=None, **options):
        """Puts a request into the queue, and gives the Request.

        prompt   a text; a conversation, to be answered; or token ids
        model    a name; None: the first
        options  max_tokens, temperature, top_p, top_k, min_p, seed, texts (how many), stop (a list of strings),
                 stop_tokens, ignore_end_tokens, logprobs (alternatives), repetition_penalty, presence_penalty,
                 frequency_penalty, priority, timeout (seconds until it ends)
        Raises QueueFull (try later), EngineClosed, UnknownModel, ArgumentError.
        """
        unknown = options.keys() - self.OPTIONS
        if unknown:
            raise TypeError(f"submit() got unexpected options {', '.join(sorted(unknown))}")
        name = next(iter(self._models)) if model is None else model
        if name not in self._models:
            raise _slice.UnknownModel(f"no model is called {name}")
        ids = prompt_ids(self._models[name], prompt)
        given = {key: value for key, value in options.items() if value is not None}
        return Request(self._engine.submit(name, ids, given))

    OPTIONS = frozenset({"max_tokens", "temperature", "top_p", "top_k", "min_p", "seed", "texts", "stop", "stop_tokens",
                         "ignore_end_tokens", "logprobs", "repetition_penalty", "presence_penalty",
                         "frequency_penalty", "priority", "timeout"})

    @property
    def models(self):
        """Names, in their order."""
        return self._engine.models()

    def statistics(self, model=""):
        """Counts and times since the engine began, of a model or of all, as a dict."""
        return self._engine.statistics(model)

    def close(self):
        """Takes no further request; those that are there go on."""
        self._engine.close()

    def drain(self, timeout=None):
        """Closes, and waits for what is there. False where the time (seconds) was up before."""
        return self._engine.drain(timeout)

    def stop(self):
        """Closes, and ends all texts."""
        self._engine.stop()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.stop()
