"""slice_model is killed at random moments and started again: the files are those of a run that nothing happened to.

    python3 kill_resume_test.py BIN [KILLS]     BIN has slice_model; KILLS for each of the four ways to slice, 3 when absent

At any moment the target holds the old model, whole, or the new one; beside it is nothing but what the next run takes up or
removes. One line a way: kills, of which so many came while the output was being written, and runs that ended.
"""

import hashlib
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

BINARY = pathlib.Path(sys.argv[1]) / "slice_model"
KILLS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
DATA = pathlib.Path(__file__).resolve().parents[1] / "data" / "trained_phi"
TIMES = {"slice_report.json", "slice_report.html"}  # hold times and memory
OLD = {"config.json": b'{"model_type": "llama"}', "old": b"model"}
WORDS = "the of and to in a is that for it as was with be by on not he his but at are this have".split()


def start(work, method, layerwise, out, *more):
    return subprocess.Popen(
        [BINARY, work / "model", "--calibration", work / "text.txt", "--out", work / out, "--method", method, "--slice", "0.25",
         "--context", "64", "--samples", "64", "--device", "cpu", "--threads", "1", "--quiet",
         *(["--layerwise", "--save-every", "1"] if layerwise else []), *more],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def end(process):
    error = process.communicate()[1].decode()
    if process.returncode != 0:
        raise SystemExit(f"slice_model ended with {process.returncode}: {error}")


def hashes(directory):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in directory.iterdir() if file.name not in TIMES}


def make_old(directory):
    directory.mkdir()
    for name, text in OLD.items():
        (directory / name).write_bytes(text)


def begun(work):
    """Whether something is being written for `out`."""
    return any(file.name.startswith(".out.") for file in work.iterdir())


def check(work, want):
    """What a kill may leave. Returns whether the new model is in place."""
    out = work / "out"
    if not out.exists():
        return False
    if (out / "old").exists():
        left = {file.name: file.read_bytes() for file in out.iterdir()}
        assert left == OLD, f"the old model is not whole: {sorted(left)}"
        return False
    assert hashes(out) == want, "the new model is not whole"
    return True


def run(work, method, layerwise):
    end(start(work, method, layerwise, "whole"))
    began = time.monotonic()
    process = start(work, method, layerwise, "again")
    while not any(file.name.startswith(".again.") for file in work.iterdir()) and process.poll() is None:
        time.sleep(0.002)
    written = time.monotonic()
    end(process)
    whole, writing = time.monotonic() - began, time.monotonic() - written
    want = hashes(work / "whole")
    assert hashes(work / "again") == want, "two runs wrote different files"
    shutil.rmtree(work / "whole")
    shutil.rmtree(work / "again")

    kills = while_writing = rounds = tries = 0
    while kills < KILLS:
        if tries == 0 and rounds % 2 == 1:
            make_old(work / "out")
        process = start(work, method, layerwise, "out", "--force", *(["--resume"] if layerwise else []))
        if kills % 4 == 3:
            time.sleep(random.uniform(0, whole))
        else:
            known = begun(work)  # of an earlier run
            while not begun(work) and process.poll() is None:
                time.sleep(0.002)
            time.sleep(random.uniform(0, 1.1 * (whole if known else writing)))
        ended = process.poll() is not None
        process.kill()
        error = process.communicate()[1].decode()
        assert not ended or process.returncode == 0, error
        kills += not ended
        while_writing += not ended and begun(work)
        tries += 1
        if check(work, want):
            rounds += 1
        elif tries < 6:
            continue
        else:
            end(start(work, method, layerwise, "out", "--force", *(["--resume"] if layerwise else [])))
            assert check(work, want)
            rounds += 1
        end(start(work, method, layerwise, "out", "--force"))  # clears up what a kill after the renaming left
        assert check(work, want)
        left = {file.name for file in work.iterdir()}
        assert left == {"model", "text.txt", "out"}, f"left: {left}"
        shutil.rmtree(work / "out")
        tries = 0
    if tries > 0:
        end(start(work, method, layerwise, "out", "--force", *(["--resume"] if layerwise else [])))
        assert check(work, want)
        assert {file.name for file in work.iterdir()} == {"model", "text.txt", "out"}
        shutil.rmtree(work / "out")
        rounds += 1
    return kills, while_writing, rounds


def main():
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    random.seed(seed)
    with tempfile.TemporaryDirectory() as scratch:
        work = pathlib.Path(scratch)
        shutil.copytree(DATA, work / "model", ignore=shutil.ignore_patterns("golden.safetensors"))
        words = random.Random(1)
        (work / "text.txt").write_text(" ".join(words.choice(WORDS) for _ in range(20000)))
        for method in ("slicegpt", "refit"):
            for layerwise in (False, True):
                kills, while_writing, rounds = run(work, method, layerwise)
                print(f"{method}{', layerwise' if layerwise else ''}: {kills} kills, {while_writing} of them while the output was "
                      f"written, {rounds} runs that ended, all with the same files", flush=True)


if __name__ == "__main__":
    main()
