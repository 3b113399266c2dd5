"""benchmarks/quality, with programs that only pretend.        python3 tests/benchmarks/quality_test.py"""

import csv
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).parent.parent.parent
QUALITY = ROOT / "benchmarks/quality"
sys.path.insert(0, str(QUALITY))

import average  # noqa: E402
import comparison  # noqa: E402
import configurations  # noqa: E402
import figure  # noqa: E402
import sizes  # noqa: E402
import table  # noqa: E402
import weights  # noqa: E402

# A model of hidden size 64 with 10,000 weights a coordinate, 10 k² of shortcuts, FFN 128.
PROGRAM = r'''
import json, os, pathlib, struct, sys, time
name, a = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
def flag(name, default=None): return a[a.index(name) + 1] if name in a else default
def blocks(k, ffn, shortcuts): return k * 10000 * (1 + ffn // 128) // 2 + (10 * k * k if shortcuts else 0)
with open(os.environ["CALLS"], "a") as file: file.write(json.dumps([name, *a]) + "\n")
if name == "inspect":
    slices = [{"k": k, "shortcut": "dense", "block_parameters": blocks(k, 128, True)} for k in (56, 48, 48, 40)]
    report = pathlib.Path(a[0]) / "slice_report.json"
    after = json.loads(report.read_text())["parameters"] if report.exists() else {"after": 700000, "blocks_after": 640000}
    print(json.dumps({"block_parameters": after["blocks_after"], "parameters": after["after"], "hidden_size": 64,
                      "layers": 2, "ffn_size": 128, "tied_head": True, "vocabulary_size": 100, "slices": slices}))
elif name == "slice_model":
    if os.environ.get("BREAK") and os.environ["BREAK"] in a:
        sys.exit("slice_model: no memory left")
    time.sleep(0 if "--dry-run" in a else float(os.environ.get("SLOW", 0)))
    slicegpt = flag("--method") == "slicegpt"
    k = int((1 - float(flag("--slice", 0))) * 64) // 8 * 8
    ffn = int(flag("--ffn", 128))
    after = round((1 - float(flag("--remove-blocks"))) * 640000) if "--remove-blocks" in a else (
        k * 10000 + 10 * k * k if slicegpt else k * 5000 + k * 5000 * ffn // 128)
    report = {"parameters": {"before": 700000, "after": after + 60000, "blocks_before": 640000, "blocks_after": after},
              "plan": {"k": [k, 64], "ffn": [ffn, ffn]}, "dtype": "float16", "seconds": {"total": 1.5},
              "model": {"hidden_size": 64, "layers": 2}, "peak_bytes": {"host": 1 << 30, "device": 0},
              "versions": {"libslice": "0.1.0", "libtorch": "2.11.0", "cuda": "13.0"}}
    if "--dry-run" not in a:
        out = pathlib.Path(flag("--out"))
        out.mkdir(parents=True, exist_ok="--force" in a)
        (out / "slice_report.json").write_text(json.dumps(report))
        header = json.dumps({"model.embed_tokens.weight": {"data_offsets": [0, 40]}, "x": {"data_offsets": [40, 100]}})
        (out / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(100))
    print(json.dumps(report))
elif name == "evaluate":
    lost = 0.1 if (pathlib.Path(a[0]) / "slice_report.json").exists() else 0
    tasks = flag("--tasks", "").split(",") if "--tasks" in a else []
    text = {"perplexity": 20.5, "bits_per_byte": 1.25, "tokens_scored": 2047, "context": 2048}
    texts = [text] * a.count("--perplexity")
    told = dict(texts[0]) if len(texts) == 1 else {"texts": texts} if texts else {}
    told["tasks"] = {"config": {"model_dtype": "float16"},
        "n-samples": {t: {"original": 100, "effective": int(flag("--limit", 100))} for t in tasks},
        "results": {t: {"alias": t, "acc,none": 0.5 - lost, "acc_stderr,none": 0.03, "acc_norm,none": 0.6 - lost,
                        "acc_norm_stderr,none": 0.04} for t in tasks}}
    print(json.dumps(told))
else:
    tokens = int(flag("--max-tokens"))
    print(f"{tokens} tokens, {tokens / (0.05 + tokens / 500):.1f} tokens/s", file=sys.stderr)
'''
TASK_FILES = ("piqa.jsonl", "arc_easy.jsonl.xz", "hellaswag_val.txt.xz", "winogrande.jsonl")


class Folder(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)


class Runs(Folder):
    def setUp(self):
        super().setUp()
        for name in ("slice_model", "evaluate", "inspect", "generate"):
            program = self.folder / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(f"#!{sys.executable} -IS\n{PROGRAM}", encoding="utf-8")
            program.chmod(0o755)
        for name in ("tiny.gguf", "a.txt", "b.txt", "t.txt", *[f"tasks/{name}" for name in TASK_FILES]):
            (self.folder / name).parent.mkdir(exist_ok=True)
            (self.folder / name).write_bytes(b"x" * 100)

    def command(self, *more, **environment):
        """Arguments of subprocess's functions."""
        command = [sys.executable, "-B", QUALITY / "run.py", "--bin", "bin", "--model", "tiny=tiny.gguf",
                   "--calibration", "both=a.txt,b.txt", "--perplexity", "t=t.txt", "u=t.txt", "v=t.txt:3",
                   "--task-dir", "tasks", "--out", "out", "--devices", "cpu", "--jobs-per-device", "2",
                   "--fractions", "0.2", "--methods", "refit,slicegpt,refit-stock", *more]
        environment = {**os.environ, "CALLS": str(self.folder / "calls"), "SLICE_COMMIT": "abcdef0", **environment}
        return {"args": command, "cwd": self.folder, "env": environment, "text": True,
                "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}

    def run_it(self, *more, **environment):
        return subprocess.run(check=False, **self.command(*more, **environment))

    def calls(self):
        """Arguments of slice_model's and of evaluate's calls since the last look."""
        path = self.folder / "calls"
        every = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        path.unlink(missing_ok=True)
        return [[call[1:] for call in every if call[0] == program and "--dry-run" not in call]
                for program in ("slice_model", "evaluate")]

    def rows(self):
        with open(self.folder / "out/rows.csv", newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def test_one_command_makes_every_configuration_and_the_second_makes_none(self):
        done = self.run_it()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        rows = self.rows()
        self.assertEqual(len(rows), 1 + 3)
        self.assertEqual(sorted({row["method"] for row in rows}), ["dense", "refit", "refit-stock", "slicegpt"])
        made, evaluated = self.calls()
        self.assertEqual(len(made), 3)
        for call in made:
            self.assertEqual((call.count("--calibration"), call[call.index("--samples") + 1]), (2, "256"))
        self.assertEqual(list((self.folder / "out/models").iterdir()), [])
        calls = [sorted(text for flag, text in zip(call, call[1:]) if flag in ("--perplexity", "--windows"))
                 for call in evaluated]
        self.assertEqual(sorted(calls), [["3", "t.txt"]] * 4 + [["t.txt", "t.txt"]] * 4)
        row = next(row for row in rows if row["method"] == "slicegpt")
        self.assertEqual((row["average_tasks"], row["commit"], row["libtorch"], row["perplexity_t"], row["piqa_n"]),
                         ("piqa arc_easy hellaswag winogrande", "abcdef0", "2.11.0", "20.5", "100"))
        self.assertAlmostEqual(float(row["average"]), (3 * 0.5 + 0.4) / 4)
        self.assertAlmostEqual(float(row["average_stderr"]), (3 * 0.04**2 + 0.03**2) ** 0.5 / 4)
        self.assertEqual((row["bytes_read_per_token"], row["jobs"]), ("100", "2"))  # a tied head reads the embedding
        dense = next(row for row in rows if row["method"] == "dense")
        self.assertEqual((dense["bytes_stored"], dense["blocks"], dense["libtorch"]), ("1400000", "640000", "2.11.0"))
        self.assertIn("quantised", dense["note"])

        self.assertEqual(self.run_it().returncode, 0)
        self.assertEqual(self.calls(), [[], []])
        self.assertEqual(self.run_it("--limit", "5").returncode, 0)  # other questions: other rows
        self.assertEqual(len(self.calls()[0]), 3)
        self.assertEqual({row["piqa_n"] for row in self.rows()}, {"5"})

    def test_slicegpt_removes_no_more_than_refit(self):
        self.run_it("--fractions", "0.2,0.3")
        rows = {(row["method"], row["fraction"], row["calibration"]): int(row["blocks"]) for row in self.rows()}
        for (method, fraction, calibration), blocks in rows.items():
            if method in comparison.OURS:
                self.assertLessEqual(blocks, rows["slicegpt", fraction, calibration])
                self.assertLessEqual(blocks, (1 - float(fraction)) * 640000)

    def test_methods_are_told_apart_by_their_flags_and_training_is_asked_for(self):
        self.run_it("--methods", ",".join(configurations.METHODS))
        flags = sorted(" ".join(flag for flag in call if flag in ("--layout", "--recover", "--ffn", "--method"))
                       for call in self.calls()[0])
        self.assertEqual(flags, ["", "--ffn", "--layout", "--method", "--recover"])
        self.assertNotIn("refit-recover", configurations.UNTRAINED)
        self.assertNotIn("refit-recover", comparison.OURS)

    def test_what_fails_is_told_and_the_rest_goes_on_and_is_not_made_again(self):
        done = self.run_it(BREAK="--remove-blocks")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(self.rows()), 3)
        with open(self.folder / "out/failed.csv", newline="", encoding="utf-8") as file:
            failed = list(csv.DictReader(file))
        self.assertEqual([(row["key"], row["step"], row["message"]) for row in failed],
                         [("tiny+refit+20+both", "make", "slice_model: no memory left")])
        self.calls()
        (self.folder / "out/models/tiny+refit+20+both").mkdir()  # of a killed run
        self.assertEqual(self.run_it().returncode, 0)
        self.assertEqual(len(self.calls()[0]), 1)
        self.assertEqual(len(self.rows()), 4)

    def test_a_killed_run_goes_on_where_it_was_and_an_ended_one_says_so(self):
        begun = [self.folder / "out/rows/tiny+dense.json", self.folder / "out/logs/tiny+slicegpt+20+both.make.txt"]
        for number, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 130)):
            begun[1].unlink(missing_ok=True)
            with subprocess.Popen(**self.command(SLOW="5")) as run:
                while not all(path.exists() for path in begun):
                    time.sleep(0.02)
                run.send_signal(number)
                self.assertEqual((run.wait(), [row["method"] for row in self.rows()]), (code, ["dense"]))
        self.assertFalse((self.folder / "out/failed.csv").exists())
        self.calls()
        self.assertEqual(self.run_it().returncode, 0)
        self.assertEqual((len(self.calls()[0]), len(self.rows())), (3, 4))

    def test_speed_is_a_step_of_its_own_and_makes_models_that_were_not_kept(self):
        self.run_it("--keep")
        self.calls()
        models = sorted((self.folder / "out/models").iterdir())
        self.assertEqual(len(models), 3)
        shutil.rmtree(models[0])
        self.assertEqual(self.run_it("--speed").returncode, 0)
        self.assertEqual(len(self.calls()[0]), 1)
        rows = self.rows()
        for row in rows:
            self.assertAlmostEqual(float(row["tokens_per_s"]), 500, delta=5)
        self.assertEqual(sorted(row["jobs"] for row in rows), ["", "1", "2", "2"])

    def test_other_tools_models_bring_their_costs(self):
        for name in ("q8", "svd"):
            peer = self.folder / "peers" / name
            peer.mkdir(parents=True)
            (peer / ("config.json" if name == "svd" else "model.gguf")).write_text("{}")
            (peer / "cost.json").write_text(json.dumps({"name": name, "bytes_stored": 7, "bytes_read_per_token": 5,
                                                        "seconds": 3, "peak_bytes": 9, "note": "of a test"}))
        done = self.run_it("--peers", "peers")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        rows = {row["method"]: row for row in self.rows() if row["benchmark"] == "peers"}
        self.assertEqual(sorted(rows), ["q8", "svd"])
        self.assertEqual((rows["q8"]["bytes_stored"], rows["q8"]["make_s"], rows["q8"]["note"]), ("7", "3", "of a test"))
        self.assertTrue(any(call[0].endswith("q8/model.gguf") for call in self.calls()[1]))

    def test_wrong_arguments_are_named(self):
        for more, told in ((("--model", "tiny=tiny.gguf"), "each name once"),
                           (("--calibration", "c=absent.txt"), "absent.txt"),
                           (("--fractions", "20"), "in (0, 1)"), (("--methods", "refit,prune"), "prune"),
                           (("--peers", "tasks"), "no cost.json")):
            done = self.run_it(*more)
            self.assertEqual(done.returncode, 2)
            self.assertIn(told, done.stderr)

    def test_tables_and_lists_say_what_rows_say(self):
        self.run_it()
        page = self.folder / "page.md"
        page.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n", encoding="utf-8")
        models, left_out = comparison.models(comparison.read([self.folder / "out/rows.csv"]))
        self.assertEqual(left_out, [])
        text = table.put(page.read_text(), table.section(models))
        self.assertTrue(text.startswith("before\n") and text.endswith("after\n") and "old" not in text)
        self.assertEqual(text, table.put(text, table.section(models)))
        self.assertRegex(text, r"\| −20.0 % \| both \| refit, free layout \| 47.50 ± 1.89 \| 82.6 % \|")
        self.assertIn("average of refit is above SliceGPT's in\n0; the smallest difference is +0.00 ± 2.67 points", text)
        self.assertIn("SliceGPT has fewer block weights than refit in: none.", text)
        told = re.findall(r"^- tiny, refit.*average 47.50 against 47.50, piqa 50.0 against 50.0,", text, re.M)
        self.assertEqual(len(told), 2)
        if figure.plot.matplotlib:
            figure.draw(models, self.folder)
            self.assertIn("abcdef0", (self.folder / "retained.svg").read_text(encoding="utf-8"))


class Parts(Folder):
    def test_a_polynomial_through_points_is_exact(self):
        value = sizes.through([(k, 3 * k * k + 5 * k - 7) for k in (400, 456, 512)])
        self.assertEqual([value(k) for k in (8, 576)], [3 * 64 + 40 - 7, 3 * 576**2 + 5 * 576 - 7])

    def test_configurations_come_fraction_by_fraction_and_their_names_differ(self):
        every = configurations.grid({"m": "x", "n": "y"}, [0.2, 0.125], {"a": [], "b": []})
        self.assertEqual(len({c.key for c in every}), len(every))
        self.assertEqual([c.fraction for c in every], sorted([c.fraction for c in every], key=[0, 0.2, 0.125].index))

    def test_averages_say_which_tasks_they_have(self):
        row = {"piqa_acc_norm": 0.75, "piqa_acc_norm_stderr": 0.03, "winogrande_acc": 0.5, "winogrande_acc_stderr": 0.04}
        mean, error = average.average(row)
        self.assertEqual((mean, average.names(row)), (0.625, ["piqa", "winogrande"]))
        self.assertEqual(average.chance(average.names(row)), 0.5)
        self.assertAlmostEqual(error, 0.025)
        self.assertEqual(average.average({}), (None, None))

    def test_a_token_reads_all_but_the_embedding_of_an_untied_model(self):
        def tensor(begin, end):
            return {"dtype": "F16", "shape": [1], "data_offsets": [begin, end]}

        for head, read in (({}, 30), ({"lm_head.weight": tensor(30, 50)}, 30)):
            every = {"model.embed_tokens.weight": tensor(0, 20), "w": tensor(20, 30), **head}
            header = json.dumps(every).encode()
            (self.folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
            self.assertEqual(weights.of_directory(self.folder)[1], read)

    def test_nothing_is_said_of_what_exceeds_chance_where_the_dense_model_guesses(self):
        for error, above in ((0.06, 0.5), (0.07, None)):
            dense = {"piqa_acc_norm": 0.625, "piqa_acc_norm_stderr": error, "average": 0.625, "average_stderr": error}
            self.assertEqual(comparison.retained({"average": 0.5625}, dense), (0.9, above))

    def test_a_row_asked_other_questions_is_left_out(self):
        base = {"model": "m", "fraction": 0.0, "calibration": "", "average": 0.5, "piqa_n": 10.0}
        rows = [{**base, "method": "dense"}, {**base, "method": "q8"},
                {**base, "method": "refit", "fraction": 0.2, "piqa_n": 9.0}]
        (model,), left_out = comparison.models(rows)
        self.assertEqual([row["method"] for row in model.rows], ["dense", "q8"])
        self.assertEqual(left_out, ["m, refit, free layout, 20 %, : other questions than the dense row's"])


if __name__ == "__main__":
    unittest.main()
