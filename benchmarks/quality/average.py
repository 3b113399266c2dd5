"""The zero-shot average, and what it is made of: metrics as published tables of sliced models take them."""

import math

TASKS = ("piqa", "winogrande", "hellaswag", "arc_easy", "arc_challenge", "lambada_openai", "boolq", "openbookqa",
         "copa")
AVERAGED = {"piqa": "acc_norm", "arc_easy": "acc_norm", "arc_challenge": "acc_norm", "hellaswag": "acc_norm",
            "winogrande": "acc"}
CHANCE = {"piqa": 1 / 2, "arc_easy": 1 / 4, "arc_challenge": 1 / 4, "hellaswag": 1 / 4, "winogrande": 1 / 2}


def metric(task):
    """The one metric of a task that tables show."""
    return AVERAGED.get(task, "acc_norm" if task == "openbookqa" else "acc")


def names(row):
    """The averaged tasks that a row has."""
    return [task for task in AVERAGED if row.get(f"{task}_{AVERAGED[task]}") not in (None, "")]


def average(row):
    """Mean and standard error over the averaged tasks that a row has, fractions of 1; None twice without any.

    Tasks are independent samples of questions, so the variance of their mean is the sum of theirs over n².
    """
    tasks = names(row)
    if not tasks:
        return None, None
    mean = math.fsum(float(row[f"{task}_{AVERAGED[task]}"]) for task in tasks) / len(tasks)
    errors = [float(row.get(f"{task}_{AVERAGED[task]}_stderr") or 0) for task in tasks]
    return mean, math.sqrt(math.fsum(error * error for error in errors)) / len(tasks)


def chance(tasks):
    """The average of guessing."""
    return math.fsum(CHANCE[task] for task in tasks) / len(tasks)
