"""The steps of one configuration: make the model, measure it, count its bytes; and decoding by itself."""

import json
import pathlib
import re
import subprocess
import threading
import time

import average
import weights

PROMPT = "The history of the printing press begins in the fifteenth century, when"
SHORT, LONG = 16, 1040  # tokens; their difference is 1024 tokens of decoding


class StepFailed(Exception):
    def __init__(self, step, code, message):
        super().__init__(message)
        self.step, self.code = step, code


class Stopped(Exception):
    """The run is being ended."""


class Programs:
    """Runs the programs one step at a time for each worker, and ends them all when the run is stopped."""

    def __init__(self, folder, store):
        self.folder, self.store = pathlib.Path(folder).resolve(), store
        self.running, self.stopped, self.guard = set(), False, threading.Lock()

    def stop(self):
        with self.guard:
            self.stopped = True
            for process in self.running:
                process.terminate()

    def run(self, place, key, step, program, *arguments):
        """What a program printed: standard output, standard error. @raises StepFailed, Stopped"""
        log, begin = self.store.log(key, step), time.monotonic()
        with open(log, "w", encoding="utf-8") as errors:
            with self.guard:
                if self.stopped:
                    raise Stopped
                process = subprocess.Popen([self.folder / program, *arguments], stdout=subprocess.PIPE, stderr=errors,
                                           stdin=subprocess.DEVNULL, env=place.environment)
                self.running.add(process)
            output = process.communicate()[0].decode("utf-8", "replace")
            with self.guard:
                self.running.discard(process)
        self.store.step(key, step, time.monotonic() - begin, place.name)
        told = log.read_text(encoding="utf-8", errors="replace")
        if self.stopped:
            raise Stopped
        if process.returncode:
            raise StepFailed(step, process.returncode, (told.strip().splitlines() or ["no message"])[-1])
        return output, told


def made(programs, place, store, configuration, settings, flags):
    """Slices into the folder's models/KEY. @return  columns of the row"""
    key, files = configuration.key, settings["calibrations"][configuration.calibration]
    arguments = [configuration.path, *(part for file in files for part in ("--calibration", file)),
                 "--samples", str(settings["samples"] * len(files)), "--order", settings["order"], *flags,
                 "--out", str(store.model(key)), "--force", "--json", "--quiet", *common(place, settings)]
    report = json.loads(programs.run(place, key, "make", "slice_model", *arguments)[0])
    parameters, plan = report["parameters"], report["plan"]
    model = report["model"]
    return {"dtype": report["dtype"], "hidden_size": model["hidden_size"], "layers": model["layers"],
            "k": plan["k"][0], "ffn": round(sum(plan["ffn"]) / len(plan["ffn"])),
            "parameters": parameters["after"], "parameters_dense": parameters["before"],
            "blocks": parameters["blocks_after"], "blocks_dense": parameters["blocks_before"],
            "make_s": round(report["seconds"]["total"], 2), "jobs": place.jobs,
            "peak_host_bytes": report["peak_bytes"]["host"], "peak_device_bytes": report["peak_bytes"]["device"],
            **report["versions"]}


def common(place, settings):
    """Flags of every program that runs a model."""
    context = ["--context", str(settings["context"])] if settings["context"] else []
    return [*context, "--device", "cpu" if place.name == "cpu" else "cuda", "--dtype", settings["dtype"],
            "--threads", str(place.threads)]


def evaluated(programs, place, key, model, settings):
    """Perplexity of every text, accuracy in every task; texts of as many windows share a call. @return  columns"""
    row, calls = {}, {windows: [] for _, windows in settings["texts"].values()} or {None: []}
    for name, (_, windows) in settings["texts"].items():
        calls[windows].append(name)
    for number, (windows, names) in enumerate(calls.items()):
        arguments = [flag for name in names for flag in ("--perplexity", settings["texts"][name][0])]
        arguments += ["--windows", str(windows)] if windows else []
        tasks = settings["tasks"] if number == 0 else []
        if tasks:
            arguments += ["--tasks", ",".join(tasks), "--task-dir", settings["task_dir"]]
            arguments += ["--limit", str(settings["limit"])] if settings["limit"] else []
        output, _ = programs.run(place, key, "-".join(["evaluate", *names]), "evaluate", model, *arguments, "--json",
                                 "--quiet", *common(place, settings))
        told = json.loads(output)
        for name, text in zip(names, told.get("texts", [told])):
            row |= {f"perplexity_{name}": text["perplexity"], f"bits_per_byte_{name}": text["bits_per_byte"],
                    f"tokens_{name}": text["tokens_scored"], "context": text["context"]}
        row |= answered(told["tasks"], tasks) if tasks else {}
    row["average"], row["average_stderr"] = average.average(row)
    return row | {"average_tasks": " ".join(average.names(row))}


def answered(told, tasks):
    """Columns of what evaluate says of tasks, in the harness's layout."""
    row = {"dtype": told["config"]["model_dtype"]}
    for task in tasks:
        row[f"{task}_n"] = told["n-samples"][task]["effective"]
        row |= {f"{task}_{name.removesuffix(',none')}": value for name, value in told["results"][task].items()
                if name.endswith(",none")}
    return row


def counted(programs, place, configuration, model, settings):
    """Bytes; parameters of what was not sliced here. @return  columns of the row"""
    if configuration.sliced:
        stored, read = weights.of_directory(model)
        return {"bytes_stored": stored, "bytes_read_per_token": read}
    told = json.loads(programs.run(place, configuration.key, "inspect", "inspect", model, "--json")[0])
    row = {"hidden_size": told["hidden_size"], "layers": told["layers"], "parameters": told["parameters"],
           "blocks": told["block_parameters"]}
    if configuration.cost:
        cost = configuration.cost
        return row | {"bytes_stored": cost["bytes_stored"], "bytes_read_per_token": cost["bytes_read_per_token"],
                      "make_s": cost["seconds"], "peak_device_bytes": cost["peak_bytes"], "note": cost.get("note", ""),
                      "tokens_per_s": cost.get("tokens_per_s", "")}
    row |= {"k": row["hidden_size"], "ffn": told["ffn_size"], "parameters_dense": row["parameters"],
            "blocks_dense": row["blocks"]}
    if pathlib.Path(model).is_dir():
        row["bytes_stored"], row["bytes_read_per_token"] = weights.of_directory(model)
    else:
        stored, read, note = weights.of_file(model, told, settings["dtype"])
        row |= {"bytes_stored": stored, "bytes_read_per_token": read, "note": note}
    return row


def decoded(programs, place, key, model, settings):
    """Greedy tokens a second after a prompt, as `generate` writes them; None where a text ends too early to tell."""
    best = {}
    for repeat in range(2):
        for tokens in (SHORT, LONG):
            _, told = programs.run(place, key, f"decode-{tokens}-{repeat}", "generate", model, "--prompt", PROMPT,
                                   "--max-tokens", str(tokens), *common(place, {**settings, "context": None}))
            count, rate = re.search(r"(\d+) tokens, ([\d.]+) tokens/s", told).groups()
            seconds = int(count) / float(rate)
            if tokens not in best or seconds < best[tokens][1]:
                best[tokens] = (int(count), seconds)
    (few, begin), (many, end) = best[SHORT], best[LONG]
    return round((many - few) / (end - begin), 1) if many >= 4 * few and end > begin else None
