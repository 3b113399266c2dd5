"""The folder that a run writes: a file a row, so that a killed run loses none, and the CSV of them all.

rows/KEY.json · rows.csv · steps.csv (seconds of every step) · failed.csv · logs/KEY.STEP.txt · models/KEY
"""

import csv
import datetime
import fcntl
import json
import os
import pathlib
import shutil
import threading

# Rows carry these in this order, then their texts, tasks and averages; the machine's at the end.
FIRST = ("benchmark", "model", "method", "fraction", "calibration", "dtype", "context", "limit", "hidden_size",
         "layers", "k", "ffn", "parameters", "parameters_dense", "blocks", "blocks_dense", "bytes_stored",
         "bytes_read_per_token", "average", "average_stderr", "average_tasks")
LAST = ("tokens_per_s", "make_s", "peak_host_bytes", "peak_device_bytes", "jobs", "note", "gpu", "driver", "cuda",
        "libtorch", "libslice", "commit", "date")
BUILD = ("cuda", "libtorch", "libslice")  # told by reports of slicing alone, the same in every row of a commit and card


def now():
    return datetime.datetime.now().isoformat(timespec="seconds")


class Store:
    """@raises BlockingIOError  another run has the folder."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder).resolve()
        for name in ("rows", "logs", "models"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.guard = threading.Lock()
        self.lock = open(self.folder / "lock", "w", encoding="utf-8")
        fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for path in (self.folder / "models").iterdir():  # half-finished ones of a killed run
            if not self._row(path.name).exists():
                shutil.rmtree(path, ignore_errors=True)

    def _row(self, key):
        return self.folder / "rows" / f"{key}.json"

    def model(self, key):
        return self.folder / "models" / key

    def log(self, key, step):
        return self.folder / "logs" / f"{key}.{step}.txt"

    def read(self, key, settings):
        """The row of a configuration that was measured with these settings, or None."""
        try:
            held = json.loads(self._row(key).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return held["row"] if held["settings"] == settings else None

    def write(self, key, settings, row):
        """Keeps a row, and makes the CSV anew."""
        with self.guard:
            text = json.dumps({"settings": settings, "row": row}, indent=1)
            self._replace(self._row(key), lambda file: file.write(text))
            self._replace(self.folder / "rows.csv", self._table)

    def _replace(self, path, write):
        """A file is there whole, or as it was."""
        part = path.with_name(path.name + ".part")
        with open(part, "w", newline="", encoding="utf-8") as file:
            write(file)
        os.replace(part, path)

    def _table(self, file):
        held = sorted((self.folder / "rows").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        rows = [json.loads(path.read_text(encoding="utf-8"))["row"] for path in held]
        told = {(row["commit"], row["gpu"]): {name: row[name] for name in BUILD} for row in rows if row.get("libtorch")}
        between = sorted({name for row in rows for name in row} - set(FIRST) - set(LAST))
        table = csv.DictWriter(file, [*FIRST, *between, *LAST], restval="", lineterminator="\n")
        table.writeheader()
        for row in rows:
            table.writerow({**row, **told.get((row["commit"], row["gpu"]), {})})

    def step(self, key, step, seconds, device):
        self._append("steps.csv", ("time", "key", "step", "seconds", "device"),
                     (now(), key, step, f"{seconds:.1f}", device))

    def failed(self, key, step, code, message):
        self._append("failed.csv", ("time", "key", "step", "code", "message"), (now(), key, step, code, message))

    def _append(self, name, columns, values):
        with self.guard, open(self.folder / name, "a", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            if file.tell() == 0:
                table.writerow(columns)
            table.writerow(values)
