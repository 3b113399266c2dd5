"""What a compressed model costs: bytes by the method's own storage, time and memory to make. Written as cost.json."""

import json
import pathlib
import resource
import time

import torch
from transformers import PreTrainedModel

import models

HALF = 2  # bytes of a float16


class Making:
    """Measures from its construction on."""

    def __init__(self, device: str):
        self.device = torch.device(device)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        self.begin = time.monotonic()

    def measured(self) -> dict:
        """Seconds, and the peak of what was allocated on the card, or of the process where there is none."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            peak = torch.cuda.max_memory_allocated()
        else:
            peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux
        return {"seconds": round(time.monotonic() - self.begin, 2), "peak_bytes": peak}


def bytes_of(model: PreTrainedModel, matrices: dict[str, int]) -> dict[str, int]:
    """Bytes of a model whose block matrices take `matrices` bytes each, and the rest float16; and what one token reads
    of them: everything but an embedding that is only looked up."""
    held = sum(matrices.values())
    names = {f"{name}.weight" for name in matrices}
    rest = sum(HALF * p.numel() for name, p in model.named_parameters() if name not in names)
    embedding = model.get_input_embeddings().weight
    tied = model.get_output_embeddings().weight is embedding
    looked_up = 0 if tied else HALF * embedding.numel()
    return {"bytes_stored": held + rest, "bytes_read_per_token": held + rest - looked_up}


def write(folder: str, name: str, measured: dict, sizes: dict[str, int], note: str, **more) -> None:
    row = {"name": name, **sizes, **measured, "note": note, **more}
    (pathlib.Path(folder) / "cost.json").write_text(json.dumps(row) + "\n", encoding="utf-8")
    print(json.dumps(row), flush=True)


def plain(model: PreTrainedModel) -> dict[str, int]:
    """Float16 bytes of every block matrix."""
    return {name: HALF * module.weight.numel() for name, module in models.block_matrices(model).items()}
