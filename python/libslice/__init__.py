"""Makes a trained language model smaller, without training it, and runs it.

    import libslice

    model, report = libslice.slice_model("SmolLM2-135M-Instruct", calibration="prose.txt", remove_blocks=0.2)
    model.save("SmolLM2-135M-sliced")

`slice_model` slices, `evaluate` measures, `generate` continues a text, `Engine` does so for many callers at a time;
`load_model` and `Model` hold a model between them. What goes wrong is an `Error` by its kind. The types are in
__init__.pyi.
"""

_WHERE = {"Engine": "engine", "Request": "engine", "evaluate": "evaluation", "generate": "generation",
          "Model": "model", "load_model": "model", "slice_model": "slicing"}
_WHERE |= dict.fromkeys(["ArgumentError", "CudaError", "DeviceError", "DtypeError", "EngineClosed", "Error",
                         "FormatError", "Interrupted", "NumericError", "Progress", "QueueFull", "ShapeError",
                         "TextPiece", "UnknownModel", "__version__"], "_slice")
__all__ = [name for name in _WHERE if name != "__version__"]


def __getattr__(name):
    """What is asked for, loaded then: the programs of this package start without LibTorch's two seconds."""
    if name not in _WHERE:
        raise AttributeError(f"module 'libslice' has no attribute '{name}'")
    import importlib

    importlib.import_module("torch")  # brings LibTorch, which the module below is linked with
    value = getattr(importlib.import_module(f".{_WHERE[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_WHERE})
