"""Second moments of what enters the linear layers of a model, from the dense model's own activations."""

import torch
from transformers import PreTrainedModel


class InputMoments:
    """Sums xᵀx over the tokens of every layer's input x (tokens, n). Layers that read one tensor share one sum.

    In float64: beside a few great directions float32's rounding hides small ones. Memory: 8 n² bytes an input.
    """

    def __init__(self, layers: dict[str, torch.nn.Linear]):
        self.sums: dict[str, torch.Tensor] = {}  # name of the first reader → (n, n) float64
        self.reads: dict[str, str] = {}  # layer → name of the first reader of its input
        self._last: tuple[torch.Tensor, str] | None = None
        self._handles = [layer.register_forward_pre_hook(self._hook(name)) for name, layer in layers.items()]

    def _hook(self, name: str):
        def add(_, inputs) -> None:
            (x,) = inputs  # (B, T, n)
            if self._last and self._last[0] is x:
                self.reads[name] = self._last[1]
                return
            self._last = (x, name)
            self.reads[name] = name
            rows = x.flatten(0, -2).double()  # (B T, n)
            product = rows.T @ rows  # (n, n)
            self.sums[name] = self.sums[name].add_(product) if name in self.sums else product

        return add

    def of(self, name: str) -> torch.Tensor:
        return self.sums[self.reads[name]]

    def stop(self) -> None:
        self._last = None
        for handle in self._handles:
            handle.remove()


def input_moments(model: PreTrainedModel, layers: dict[str, torch.nn.Linear], windows: torch.Tensor,
                  batch: int) -> InputMoments:
    moments = InputMoments(layers)
    with torch.inference_mode():
        for part in windows.split(batch):  # (batch, T)
            model.base_model(part.to(model.device), use_cache=False)
    moments.stop()
    return moments
