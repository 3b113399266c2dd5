"""What rows say together: shares of the dense average, and whether refit is above SliceGPT."""

import collections
import csv
import math

import average

LABELS = {"dense": "dense", "slicegpt": "SliceGPT", "refit-stock": "refit, equal widths", "refit-default": "refit",
          "refit": "refit, free layout", "refit-recover": "refit, trained"}
OURS = ("refit-stock", "refit-default", "refit")
TEXT = ("benchmark", "model", "method", "calibration", "dtype", "average_tasks", "note", "gpu", "driver", "cuda",
        "libtorch", "libslice", "commit", "date")


def read(paths):
    """Rows in their order, numbers as numbers, None where there is none; of one configuration the last."""
    newest = {}
    for path in paths:
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if not row["commit"]:
                    continue  # a number without a commit cannot be made again
                row = {name: value if name in TEXT else float(value) if value else None for name, value in row.items()}
                newest[row["model"], row["method"], row["fraction"], row["calibration"]] = row
    return list(newest.values())


def questions(row):
    """How many of each task a row was asked: averages are compared where this is equal."""
    return {name: value for name, value in row.items() if name.endswith("_n") and value}


def with_equal_texts(row, dense):
    """A row with those perplexities alone that were taken over as many tokens as the dense model's."""
    other = {name for name in row if name.startswith("perplexity_") and
             row[f"tokens_{name.removeprefix('perplexity_')}"] != dense[f"tokens_{name.removeprefix('perplexity_')}"]}
    return {**row, **dict.fromkeys(other)}


Model = collections.namedtuple("Model", "name dense rows")


def models(rows):
    """Each model with its dense row and those that were asked the same, and a line for everything left out."""
    found, left_out = [], []
    for name in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == name]
        dense = next((row for row in own if row["method"] == "dense"), None)
        if not dense or dense["average"] is None:
            left_out.append(f"{name}: no dense row with an average")
            continue
        equal = [with_equal_texts(row, dense) for row in own if questions(row) == questions(dense)]
        left_out += [f"{title(row)}: other questions than the dense row's" for row in own
                     if questions(row) != questions(dense)]
        found.append(Model(name, next(row for row in equal if row["method"] == "dense"), equal))
    return found, left_out


def title(row):
    parts = [row["model"], LABELS.get(row["method"], row["method"])]
    return ", ".join(parts + ([f"{100 * row['fraction']:g} %, {row['calibration']}"] if row["fraction"] else []))


def removed(row):
    """Share of the block weights that is gone, shortcuts counted; 0 where a tool removes none."""
    return 1 - row["blocks"] / row["blocks_dense"] if row.get("blocks_dense") else 0.0


def retained(row, dense):
    """Share of the dense average; and of its part above chance, None where two standard errors might be all of that."""
    guess = average.chance(average.names(dense))
    told = dense["average"] - guess > 2 * dense["average_stderr"]
    above = (row["average"] - guess) / (dense["average"] - guess) if told else None
    return row["average"] / dense["average"], above


def tasks(row):
    """Tasks of a row with what tables show of each: value and standard error."""
    every = [task for task in average.TASKS if row.get(f"{task}_{average.metric(task)}") is not None]
    return {task: (row[f"{task}_{average.metric(task)}"], row.get(f"{task}_{average.metric(task)}_stderr") or 0.0)
            for task in every}


def texts(row):
    return {name.removeprefix("perplexity_"): value for name, value in row.items()
            if name.startswith("perplexity_") and value is not None}


def worst(row, dense):
    """The task that lost most, and by how much."""
    here, before = tasks(row), tasks(dense)
    return min(((here[task][0] - before[task][0], task) for task in here if task in before), default=(0.0, ""))


Pair = collections.namedtuple("Pair", "ours slicegpt gain error smaller worse")


def pairs(model):
    """Each refit beside SliceGPT of its fraction and calibration.

    gain, error: of the average, as if the questions were independent; smaller: SliceGPT has fewer block weights;
    worse: (what, ours, SliceGPT's) of the tasks and texts in which refit is not above it.
    """
    found = {(row["method"], row["fraction"], row["calibration"]): row for row in model.rows}
    result = []
    for (method, fraction, calibration), ours in found.items():
        other = found.get(("slicegpt", fraction, calibration))
        if method not in OURS or not other:
            continue
        here, there = tasks(ours), tasks(other)
        worse = [(task, here[task][0], there[task][0]) for task in here if here[task][0] <= there[task][0]]
        here, there = texts(ours), texts(other)
        worse += [(f"perplexity of {text}", here[text], there[text]) for text in here if here[text] >= there[text]]
        result.append(Pair(ours, other, ours["average"] - other["average"],
                           math.hypot(ours["average_stderr"], other["average_stderr"]),
                           other["blocks"] < ours["blocks"], worse))
    return result


def missing(model):
    """(fraction, calibration, method) of what the others were measured at."""
    found = {(row["fraction"], row["calibration"], row["method"]) for row in model.rows if row["fraction"]}
    return sorted({(fraction, calibration, method) for fraction, calibration, _ in found
                   for method in ("slicegpt", *OURS)} - found)
