"""What is measured: models dense, sliced by three methods to several sizes on several texts, and other tools'."""

import dataclasses
import json
import pathlib

METHODS = ("refit-recover", "refit", "refit-default", "slicegpt", "refit-stock")  # the longest first
UNTRAINED = METHODS[1:]


@dataclasses.dataclass(frozen=True)
class Configuration:
    """One row. `path` is read as it is by `dense` and by another tool's model, and sliced by the methods."""

    model: str
    method: str  # dense, one of METHODS, or the name of another tool's model
    path: str
    fraction: float = 0.0  # of the block weights, asked for
    calibration: str = ""
    cost: dict | None = dataclasses.field(default=None, compare=False)  # of another tool's model: what cost.json says

    @property
    def key(self):
        """A name for files, one for each row."""
        parts = [self.model, self.method, f"{100 * self.fraction:g}" if self.fraction else "", self.calibration]
        return "".join(c if c.isalnum() or c in "-_.+" else "_" for c in "+".join(part for part in parts if part))

    @property
    def sliced(self):
        return self.method in METHODS


def pairs(texts, what):
    """NAME=VALUE, in their order. @raises ValueError for anything else, and for a name given twice."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value) or name in found:
            raise ValueError(f"{what}: want NAME=…, each name once, got {text}")
        found[name] = value
    return found


def peers(directories, models):
    """Other tools' models: directories with a cost.json, or directories of such directories; each may be MODEL=DIR.

    @raises ValueError  no cost.json there, or a model that is not measured
    """
    found = []
    for text in directories:
        model, equals, rest = text.partition("=")
        folder = pathlib.Path(rest if equals else text)
        costs = [folder / "cost.json"] if (folder / "cost.json").exists() else sorted(folder.glob("*/cost.json"))
        if not costs:
            raise ValueError(f"--peers: {folder}: no cost.json there")
        for path in costs:
            cost = json.loads(path.read_text(encoding="utf-8"))
            name = model if equals else cost.get("model") or (next(iter(models)) if len(models) == 1 else None)
            if name not in models:
                raise ValueError(f"--peers: {path}: want MODEL=DIR, what it is made of, one of {', '.join(models)}")
            files = sorted(path.parent.glob("*.gguf"))
            one_file = len(files) == 1 and not (path.parent / "config.json").exists()
            found.append(Configuration(name, cost["name"], str(files[0] if one_file else path.parent), cost=cost))
    return found


def grid(models, fractions, calibrations, others=(), methods=UNTRAINED):
    """Every configuration, the most valuable first: dense ones, then fraction by fraction in the order given."""
    every = [Configuration(name, "dense", path) for name, path in models.items()]
    for place, fraction in enumerate(fractions):
        every += [Configuration(name, method, path, fraction, calibration)
                  for calibration in calibrations for name, path in models.items()
                  for method in METHODS if method in methods]
        every += others if place == 0 else ()
    return every if fractions else every + list(others)
