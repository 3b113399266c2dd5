#!/usr/bin/env python3
"""Makes and measures every model of the comparison in docs/results/quality.md: dense, and sliced by SliceGPT and by
refit, stock and as planned, to several shares of the block weights, calibrated on several texts; other tools' models
beside them.

    run.py --bin build/cuda/bin --model smollm2-135m=SmolLM2.gguf --calibration wikitext2=a.txt mix=a.txt,b.txt
           --perplexity wikitext2=test.txt alpaca=alpaca.txt:80 --task-dir tasks --out quality
    … and the same once more with --speed

Rows are written as they come, and what has a row is not made again: a run that was killed goes on where it was. --speed
is the step for a card on which nothing else runs: it adds tokens/s, and times the making of every model once more.
"""

import argparse
import dataclasses
import datetime
import os
import pathlib
import queue
import shutil
import signal
import sys
import threading
import time

import average
import configurations
import machine
import measure
import sizes
import store


@dataclasses.dataclass(frozen=True)
class Place:
    """Where one worker's programs run."""

    name: str  # cpu, cuda:0 …
    environment: dict
    threads: int
    jobs: int  # at once on the device
    columns: dict  # gpu, driver


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    many = {"nargs": "+", "action": "extend", "default": []}
    parser.add_argument("--bin", required=True, help="folder of the programs")
    parser.add_argument("--model", metavar="NAME=PATH", required=True, **many)
    parser.add_argument("--calibration", metavar="NAME=FILE[,FILE]", help="several files give windows in turns", **many)
    parser.add_argument("--perplexity", metavar="NAME=FILE[:WINDOWS]", help="the first windows; all of them", **many)
    parser.add_argument("--task-dir", help="files of the zero-shot tasks; every task whose file is there is asked")
    parser.add_argument("--out", required=True, help="folder of the rows; rows.csv has them all")
    parser.add_argument("--devices", help="cpu, or cuda:0,cuda:1 …; the first GPU where there is one")
    parser.add_argument("--jobs-per-device", type=int, default=4)
    parser.add_argument("--fractions", default="0.2,0.3,0.1", help="of the block weights, in this order")
    parser.add_argument("--methods", default=",".join(configurations.UNTRAINED),
                        help=f"of {', '.join(configurations.METHODS)}; all but the first, which trains")
    parser.add_argument("--peers", metavar="[MODEL=]DIR", help="models with a cost.json, or folders of such", **many)
    parser.add_argument("--limit", type=int, help="questions a task at most")
    parser.add_argument("--samples", type=int, default=128, help="windows of each calibration file")
    parser.add_argument("--order", default="first", choices=("first", "spread"), help="which windows calibrate")
    parser.add_argument("--context", type=int, help="tokens a window; the programs' own rule")
    parser.add_argument("--dtype", default="keep", help="of weights, written and in memory")
    parser.add_argument("--keep", action="store_true", help="sliced models stay, in OUT/models")
    parser.add_argument("--speed", action="store_true", help="of what has a row: tokens/s, seconds to make")
    return parser, parser.parse_args()


def task_files(folder):
    """Tasks whose file is in a folder, by the names that evaluate looks for."""
    ends = ("", "_val", "_validation", "_dev", "_test")
    stems = {path.name.partition(".")[0] for path in pathlib.Path(folder).iterdir()} if folder else set()
    return [task for task in average.TASKS if any(task + end in stems for end in ends)]


def understood(parser, a):
    """Every configuration, and the settings that all of them share. Ends the program where the arguments are wrong."""
    try:
        models = configurations.pairs(a.model, "--model")
        named = configurations.pairs(a.calibration, "--calibration")
        calibrations = {name: files.split(",") for name, files in named.items()}
        texts = {}
        for name, value in configurations.pairs(a.perplexity, "--perplexity").items():
            file, colon, windows = value.rpartition(":")
            texts[name] = [file, int(windows)] if colon and windows.isdigit() else [value, None]
        fractions = [float(part) for part in a.fractions.split(",")] if calibrations else []
        if not all(0 < fraction < 1 for fraction in fractions) or a.jobs_per_device < 1:
            raise ValueError("--fractions: want numbers in (0, 1); --jobs-per-device: at least 1")
        files = [*models.values(), *(file for group in calibrations.values() for file in group),
                 *(file for file, _ in texts.values()), *([a.task_dir] if a.task_dir else []),
                 *(os.path.join(a.bin, program) for program in ("slice_model", "evaluate", "inspect", "generate"))]
        missing = [file for file in files if not os.path.exists(file)]
        if missing:
            raise ValueError(f"not there: {', '.join(missing)}")
        tasks = task_files(a.task_dir)
        if not texts and not tasks:
            raise ValueError("nothing to measure: want --perplexity, or --task-dir with files of tasks")
        others = configurations.peers(a.peers, models)
        methods = a.methods.split(",")
        if not set(methods) <= set(configurations.METHODS):
            raise ValueError(f"--methods: want some of {', '.join(configurations.METHODS)}, got {a.methods}")
    except (OSError, ValueError, KeyError) as error:
        parser.error(str(error))
    settings = {"calibrations": calibrations, "texts": texts, "tasks": tasks, "task_dir": a.task_dir, "limit": a.limit,
                "context": a.context, "dtype": a.dtype, "samples": a.samples, "order": a.order}
    return configurations.grid(models, fractions, calibrations, others, methods), settings


def asked(configuration, settings):
    """What a row answers: one of other settings is measured again."""
    own = {name: settings[name] for name in ("texts", "tasks", "limit", "context", "dtype")}
    own["path"] = configuration.path
    if configuration.sliced:
        own |= {"files": settings["calibrations"][configuration.calibration], "samples": settings["samples"],
                "order": settings["order"], "fraction": configuration.fraction}
    return own


class Run:
    """Takes configurations off a queue, in as many threads as programs may run at once."""

    def __init__(self, a, settings, kept):
        self.a, self.settings, self.store = a, settings, kept
        self.programs = measure.Programs(a.bin, kept)
        self.commit, self.sizes, self.guard = machine.commit(), {}, threading.Lock()
        self.left, self.done, self.failures = 0, 0, 0

    def flags(self, configuration):
        """Headers of a dense model are read once."""
        with self.guard:
            if configuration.path not in self.sizes:
                self.sizes[configuration.path] = sizes.Sizes(self.programs.folder, configuration.path)
        return self.sizes[configuration.path].flags(configuration.method, configuration.fraction)

    def model(self, place, configuration):
        """The model to measure, made where it has to be, and columns of its row."""
        folder = self.store.model(configuration.key)
        if not configuration.sliced:
            return configuration.path, {}
        if self.a.speed and folder.exists():  # kept by an earlier run
            return str(folder), {}
        return str(folder), measure.made(self.programs, place, self.store, configuration, self.settings,
                                         self.flags(configuration))

    def measure(self, place, configuration):
        """The row of a configuration."""
        key = configuration.key
        row = {"benchmark": "peers" if configuration.cost else "quality", "model": configuration.model,
               "method": configuration.method, "fraction": configuration.fraction,
               "calibration": configuration.calibration, "limit": self.settings["limit"],
               "commit": self.commit, "date": datetime.date.today().isoformat(), **place.columns}
        path, columns = self.model(place, configuration)
        row |= columns
        row |= measure.evaluated(self.programs, place, key, path, self.settings)
        return row | measure.counted(self.programs, place, configuration, path, self.settings)

    def timed(self, place, configuration):
        """The row that is there, with tokens/s and what making takes when nothing else runs."""
        row = self.store.read(configuration.key, asked(configuration, self.settings))
        path, columns = self.model(place, configuration)
        row |= {name: columns[name] for name in ("make_s", "jobs", "peak_host_bytes", "peak_device_bytes") if columns}
        row["tokens_per_s"] = measure.decoded(self.programs, place, configuration.key, path, self.settings)
        return row

    def one(self, place, configuration):
        key, begin, step = configuration.key, time.monotonic(), self.timed if self.a.speed else self.measure
        try:
            row = step(place, configuration)
            self.store.write(key, asked(configuration, self.settings), row)
            told = f"{row['tokens_per_s'] or 'no'} tokens/s" if self.a.speed else summary(row)
        except measure.Stopped:
            return
        except Exception as error:  # one configuration's failure is a line in a file, the rest go on
            self.store.failed(key, getattr(error, "step", "run"), getattr(error, "code", ""), str(error) or repr(error))
            self.failures += 1
            told = f"FAILED: {error}"
        if not self.a.keep:
            shutil.rmtree(self.store.model(key), ignore_errors=True)
        self.done += 1
        say(f"{place.name} {key}: {told} ({time.monotonic() - begin:.0f} s; {self.done} of {self.left})")

    def all(self, places, pending):
        """@return  how many failed"""
        self.left, waiting = len(pending), queue.SimpleQueue()
        for configuration in pending:
            waiting.put(configuration)

        def work(place):
            while not self.programs.stopped:
                try:
                    self.one(place, waiting.get_nowait())
                except queue.Empty:
                    return

        threads = [threading.Thread(target=work, args=(place,)) for place in places]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self.failures


def summary(row):
    texts = [f"{name.removeprefix('perplexity_')} {row[name]:.3f}" for name in row
             if name.startswith("perplexity_") and row[name]]
    mean = row.get("average")
    return ", ".join(([f"average {100 * mean:.2f} ± {100 * row['average_stderr']:.2f}"] if mean else []) + texts)


def say(text):
    print(f"{datetime.datetime.now():%H:%M:%S} {text}", flush=True)


def places(a):
    """A worker each: jobs-per-device on every device, in turns; one alone for --speed."""
    cards = machine.cards()
    devices = (a.devices or ("cuda:0" if cards else "cpu")).split(",")
    jobs = 1 if a.speed else a.jobs_per_device
    devices = devices[:1] if a.speed else devices
    threads = max(1, len(os.sched_getaffinity(0)) // (jobs * len(devices)))
    return [Place(name, machine.environment(name), threads, jobs, machine.described(name, cards))
            for _ in range(jobs) for name in devices]


def main():
    parser, a = arguments()
    every, settings = understood(parser, a)
    try:
        run = Run(a, settings, store.Store(a.out))
    except BlockingIOError:
        parser.error(f"--out: another run works in {a.out}")
    rows = {c: run.store.read(c.key, asked(c, settings)) for c in every}
    if a.speed:
        pending = [c for c in every if rows[c] and not c.cost and not rows[c].get("tokens_per_s")]
    else:
        pending = [c for c in every if not rows[c]]
    say(f"{len(every)} configurations, {len(pending)} to do; tasks: {' '.join(settings['tasks']) or 'none'}")

    def stop(number, _):
        run.programs.stop()
        say(f"ended by signal {number}; the same command goes on from here")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    failures = run.all(places(a), pending)
    if failures:
        say(f"{failures} failed: {run.store.folder / 'failed.csv'}")
    return 130 if run.programs.stopped else 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
