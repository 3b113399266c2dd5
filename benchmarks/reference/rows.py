"""Rows of docs/results."""
import csv
import datetime
import os
import pathlib

import torch

COLUMNS = ("benchmark,model,form,dtype,batch,length,metric,value,unit,floor,share,baseline,baseline_value,ratio,kind,"
           "gpu,driver,cuda,libtorch,commit,date").split(",")


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def append(path, **columns):
    """Appends one row; the machine's columns are filled in where the caller has none."""
    gpu = torch.cuda.is_available()
    driver = pathlib.Path("/sys/module/nvidia/version")
    row = {"gpu": torch.cuda.get_device_name() if gpu else "none",
           "driver": driver.read_text().strip() if driver.exists() else "", "cuda": torch.version.cuda if gpu else "",
           "libtorch": torch.__version__.split("+")[0], "commit": os.environ.get("SLICE_COMMIT", ""),
           "date": datetime.date.today().isoformat(), **columns}
    row = {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()}
    is_new = not os.path.exists(path) or os.path.getsize(path) == 0
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=COLUMNS, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def beside(path, ours, baseline, value, **changes):
    """Appends our row with the baseline's value, in the same unit."""
    append(path, **{**ours, "baseline": baseline, "baseline_value": value, "ratio": value / float(ours["value"]),
                    **changes})
