"""Which flags give a wanted share of block weights, from sizes that the programs count themselves."""

import fractions
import json
import subprocess

ROUND = 8  # slice_model's --round


def through(points):
    """The polynomial through points (x, y) as a function, exact: Lagrange's form in rational numbers."""
    def value(x):
        total = fractions.Fraction(0)
        for i, (xi, yi) in enumerate(points):
            term = fractions.Fraction(yi)
            for j, (xj, _) in enumerate(points):
                term *= fractions.Fraction(x - xj, xi - xj) if j != i else 1
            total += term
        return total
    return value


class Sizes:
    """Of one dense model. Reads headers only: one `inspect`, one `slice_model --dry-run`."""

    def __init__(self, programs, model):
        self.programs, self.model = programs, model
        self.dense = self._ask("inspect", model, "--json")
        self.blocks = self.dense["block_parameters"]
        self.hidden = self.dense["hidden_size"]

    def _ask(self, program, *arguments):
        done = subprocess.run([f"{self.programs}/{program}", *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ValueError(f"{program} {self.model}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
        return json.loads(done.stdout)

    def slicegpt(self, fraction):
        """The --slice by which SliceGPT removes at most this share, dense shortcuts counted, as near as --round allows.

        Block weights are a quadratic polynomial of k: readers and writers have k columns or rows, shortcuts k².
        """
        counted = {s["k"]: s["block_parameters"] for s in self.dense["slices"] if s["shortcut"] == "dense"}
        if len(counted) < 3:
            raise ValueError(f"{self.model}: too small to tell how SliceGPT's weights grow with the hidden size")
        blocks = through(list(counted.items())[:3])
        k = next(k for k in range(ROUND, self.hidden + 1, ROUND) if blocks(k) >= (1 - fraction) * self.blocks)
        return 1 - (k + 0.5) / self.hidden  # half a coordinate more, so that rounding down meets k

    def stock(self, fraction):
        """FFN channels of every layer by which the share is removed, or a little more: a multiple of --round."""
        width = self.dense["ffn_size"]
        half = self._ask("slice_model", self.model, "--dry-run", "--json", "--slice", "0", "--ffn", str(width // 2))
        blocks = through([(width, self.blocks), (width // 2, half["parameters"]["blocks_after"])])
        for ffn in range(width // ROUND * ROUND, 0, -ROUND):
            if blocks(ffn) <= (1 - fraction) * self.blocks:
                return ffn
        raise ValueError(f"{self.model}: its feed-forward networks hold less than {100 * fraction:g} % of the blocks")

    def flags(self, method, fraction):
        """What makes slice_model remove a share of the block weights by a method."""
        if method == "slicegpt":
            return ["--method", "slicegpt", "--slice", repr(self.slicegpt(fraction))]
        if method == "refit-stock":
            return ["--slice", "0", "--ffn", str(self.stock(fraction))]
        budget = ["--remove-blocks", repr(fraction)]
        return budget + {"refit-default": [], "refit": ["--layout", "free"], "refit-recover": ["--recover", "4"]}[method]
