"""The Python module, as the wheel installs it.

    python module_test.py DATA          DATA is tests/data
"""

import _thread
import ast
import contextlib
import inspect
import io
import pathlib
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import unittest
import warnings

import torch

import libslice

DATA = pathlib.Path(sys.argv.pop(1) if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1] / "data").resolve()
PHI = DATA / "trained_phi"
TEXT = "".join(f"{i} apples fell from the tree in the garden.\n" for i in range(400))


def phi(**options):
    return libslice.load_model(PHI, device="cpu", **options)


def some_tokens(model, rows=8, length=20):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(model.description["vocabulary_size"], (rows, length), generator=generator)


class WithText(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.folder = pathlib.Path(directory.name)
        self.text = self.folder / "text.txt"
        self.text.write_text(TEXT)


class Slicing(WithText):
    def test_a_path_becomes_a_smaller_model_and_a_report(self):
        seen = []
        model, report = libslice.slice_model(PHI, self.text, remove_blocks=0.2, round=4, samples=16, context=64,
                                             device="cpu", on_progress=seen.append)
        self.assertLess(report["parameters"]["after"], report["parameters"]["before"])
        self.assertEqual(report["parameters"]["after"], model.description["parameters"])
        self.assertEqual(report["calibration"]["sequences"], 16)
        self.assertIn("slice", {progress.phase for progress in seen})
        model.save(self.folder / "sliced", dtype="fp32")
        again = libslice.load_model(self.folder / "sliced", device="cpu")
        tokens = some_tokens(model)
        torch.testing.assert_close(again.logits(tokens), model.logits(tokens), rtol=1e-4, atol=1e-4)
        with self.assertRaisesRegex(libslice.Error, "exists"):
            model.save(self.folder / "sliced")
        model.save(self.folder / "sliced", replace=True)

    def test_state_dicts_go_in_and_come_out(self):
        dense = phi()
        config, tensors = dense.state_dict()
        before = {name: tensor.clone() for name, tensor in tensors.items()}
        tokens = some_tokens(dense)
        model, report = libslice.slice_model((config, tensors), tokens, slice=0.25, head="slice", device="cpu")
        self.assertEqual(report["method"], "refit")
        for name, tensor in tensors.items():  # given, not rewritten
            self.assertTrue(torch.equal(tensor, before[name]), name)
        config, tensors = model.state_dict("fp32")
        again = libslice.Model(config, tensors, device="cpu")
        torch.testing.assert_close(again.logits(tokens), model.logits(tokens), rtol=1e-4, atol=1e-4)

    def test_a_model_is_sliced_in_place_once(self):
        model = phi()
        tokens = some_tokens(model)
        same, _ = libslice.slice_model(model, tokens, slice=0.25)
        self.assertIs(same, model)
        with self.assertRaisesRegex(libslice.ArgumentError, "sliced"):
            libslice.slice_model(model, tokens, slice=0.25)
        model.logits(tokens)  # a refusal leaves it whole

    def test_windows_of_its_own(self):
        _, report = libslice.slice_model(PHI, slice=0.25, samples=8, context=16, device="cpu")
        self.assertEqual([report["calibration"]["sequences"], len(report["texts"])], [8, 1])

    def test_refusals_name_what_is_refused(self):
        model = phi()
        tokens = some_tokens(model)
        for error, options, what in [(libslice.ArgumentError, {"slice": 2.0}, "slice"),
                                     (libslice.ArgumentError, {"slice": 0.1, "remove": 0.1}, "one size"),
                                     (libslice.ArgumentError, {"method": "magic"}, "method"),
                                     (libslice.ArgumentError, {"shortcut": "long"}, "shortcut"),
                                     (libslice.ArgumentError, {"fit": "24 elephants"}, "fit")]:
            with self.assertRaisesRegex(error, what):
                libslice.slice_model(model, tokens, **options)
        with self.assertRaises(libslice.ShapeError):
            libslice.slice_model(model, tokens[0], slice=0.25)
        with self.assertRaises(libslice.ArgumentError):
            libslice.slice_model(model, tokens + 10**6, slice=0.25)
        with self.assertRaises(libslice.FormatError):
            libslice.load_model(DATA / "nothing_here")
        with self.assertRaisesRegex(libslice.DtypeError, "int64"):
            model.logits(tokens.float())
        with self.assertRaises(libslice.DeviceError):
            libslice.load_model(PHI, device="abacus")
        self.assertTrue(issubclass(libslice.UnknownModel, libslice.ArgumentError))
        self.assertTrue(issubclass(libslice.Error, RuntimeError))

    def test_warnings_are_pythons(self):
        config, tensors = phi().state_dict()
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            libslice.Model(config, {**tensors, "visual.projector": torch.ones(3)}, device="cpu")
        self.assertIn("visual.projector", "".join(str(warning.message) for warning in heard))


class Stopping(WithText):
    def test_what_a_callback_raises_comes_out(self):
        model = phi()

        def stop(progress):
            if progress.phase == "slice":
                raise ZeroDivisionError("enough")

        with self.assertRaisesRegex(ZeroDivisionError, "enough"):
            libslice.slice_model(model, some_tokens(model), slice=0.25, on_progress=stop)
        with self.assertRaisesRegex(libslice.Error, "interrupted"):
            model.logits(some_tokens(phi()))

    def test_ctrl_c_ends_long_calls(self):
        model = phi()
        tokens = some_tokens(model, rows=20000)
        calls = [lambda: libslice.evaluate(model, perplexity=tokens),
                 lambda: libslice.generate(model, "The house", max_tokens=10**6, ignore_end_tokens=True),
                 lambda: libslice.slice_model(phi(), tokens, slice=0.25)]
        for call in calls:
            threading.Timer(0.5, _thread.interrupt_main).start()
            begin = time.monotonic()
            with self.assertRaises(KeyboardInterrupt):
                call()
            self.assertLess(time.monotonic() - begin, 20)

    def test_other_threads_run_meanwhile_and_may_not_slice(self):
        model = phi()
        refused = []

        def slice_it(progress):
            thread = threading.Thread(target=try_to_slice)
            thread.start()
            thread.join()
            raise StopIteration

        def try_to_slice():
            try:
                libslice.slice_model(model, some_tokens(phi()), slice=0.25)
            except libslice.Error as error:
                refused.append(str(error))

        with self.assertRaises(StopIteration):
            libslice.evaluate(model, perplexity=some_tokens(model), on_progress=slice_it)
        self.assertRegex(refused[0], "in use")


class Measuring(WithText):
    def test_perplexity_of_windows_texts_and_strides(self):
        model = phi()
        windows = libslice.evaluate(model, perplexity=self.text, context=32, windows=4)
        self.assertEqual(windows["tokens_scored"], 4 * 31)
        strided = libslice.evaluate(model, perplexity=self.text, context=32, stride=32)
        self.assertGreater(strided["tokens_scored"], windows["tokens_scored"])
        both = libslice.evaluate(model, perplexity=[self.text, self.text], context=32, windows=4)
        self.assertEqual(list(both["texts"]), [str(self.text)])
        tokens = some_tokens(model)
        scored = libslice.evaluate(model, perplexity=tokens)
        logits = model.logits(tokens).double().log_softmax(-1)[:, :-1]
        expected = logits.gather(-1, tokens[:, 1:, None]).sum().item()
        self.assertAlmostEqual(scored["log_likelihood"], expected, delta=1e-3 * abs(expected))
        with self.assertRaisesRegex(libslice.ArgumentError, "perplexity, tasks"):
            libslice.evaluate(model)

    def test_tasks(self):
        question = '{"goal": "Open a door", "sol1": "Turn the handle", "sol2": "Eat the handle", "label": 0}\n'
        (self.folder / "piqa.jsonl").write_text(question * 3)
        result = libslice.evaluate(PHI, tasks=["piqa"], task_dir=self.folder, device="cpu")
        self.assertEqual(result["tasks"]["piqa"]["questions"], 3)
        self.assertIn("acc_norm", result["tasks"]["piqa"])


class Writing(unittest.TestCase):
    def test_a_text_comes_in_pieces_that_join_to_it(self):
        model, pieces = phi(), []
        text = libslice.generate(model, "The house", max_tokens=12, on_text=pieces.append)
        self.assertEqual("".join(pieces), text)
        ids = model.encode("The house")
        self.assertEqual(libslice.generate(model, ids, max_tokens=12), text)
        self.assertEqual(libslice.generate(model, torch.tensor([ids]), max_tokens=12), text)
        greedy = ids + [int(model.logits(torch.tensor([ids]))[0, -1].argmax())]
        self.assertTrue(model.decode(greedy).startswith(model.decode(ids)))
        self.assertTrue(text.startswith(model.decode(greedy)[len(model.decode(ids)):]))

    def test_false_ends_it(self):
        seen = []
        libslice.generate(phi(), "The house", max_tokens=50, on_text=lambda piece: seen.append(piece) or False)
        self.assertEqual(len(seen), 1)


class Engines(unittest.TestCase):
    def test_many_threads_get_the_texts_of_generate(self):
        model = phi()
        prompts = [f"The {word}" for word in ("house", "river", "king", "garden")]
        alone = [libslice.generate(model, prompt, max_tokens=10) for prompt in prompts]
        texts = {}
        with libslice.Engine(model, slots=2, capacity=64) as engine:
            def ask(prompt):
                texts[prompt] = engine.submit(prompt, max_tokens=10).text()

            threads = [threading.Thread(target=ask, args=[prompt]) for prompt in prompts]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual([texts[prompt] for prompt in prompts], alone)
            with self.assertRaisesRegex(libslice.Error, "in use"):
                libslice.slice_model(model, some_tokens(phi()), slice=0.25)
            self.assertEqual(engine.statistics()["finished"], len(prompts))
        libslice.slice_model(model, some_tokens(phi()), slice=0.25)  # the engine is gone

    def test_pull_cancel_close(self):
        with libslice.Engine({"phi": PHI}, slots=1, capacity=128, device="cpu") as engine:
            self.assertEqual(engine.models, ["phi"])
            request = engine.submit("The house", max_tokens=100, ignore_end_tokens=True, temperature=0.7, seed=3,
                                    logprobs=0)
            piece = request.pull()
            self.assertEqual(len(piece.ids), len(piece.logprobs))
            request.cancel()
            last = list(request)[-1]
            self.assertIn(last.finish, ("cancelled", "length"))
            self.assertTrue(request.finished)
            self.assertIsNone(request.pull())
            both = engine.submit("A", max_tokens=3, texts=2, ignore_end_tokens=True)
            self.assertEqual(len(both.text()), 2)
            self.assertEqual(both.usage["completion_tokens"], 6)
            with self.assertRaises(libslice.UnknownModel):
                engine.submit("The", model="psi")
            with self.assertRaisesRegex(TypeError, "temprature"):
                engine.submit("The", temprature=1)
            with self.assertRaises(libslice.ArgumentError):
                engine.submit([], max_tokens=1)
            self.assertTrue(engine.drain(30))
            with self.assertRaises(libslice.EngineClosed):
                engine.submit("The house")

    def test_ctrl_c_is_heard_while_waiting(self):
        with libslice.Engine(phi(), slots=1, capacity=2000) as engine:
            request = engine.submit("The house", max_tokens=1900, ignore_end_tokens=True)
            threading.Timer(0.3, _thread.interrupt_main).start()
            with self.assertRaises(KeyboardInterrupt):
                request.text()


class Documentation(WithText):
    def test_the_code_of_docs_python_md_runs(self):
        text = (DATA.parents[1] / "docs" / "python.md").read_text()
        blocks = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
        self.assertTrue(blocks)
        shutil.copytree(PHI, self.folder / "model")
        (self.folder / "prose.txt").write_text(TEXT)
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(io.StringIO()) as out:
            for block in blocks:
                exec(compile(block, "docs/python.md", "exec"), {})
        self.assertIn("want one size, got fit and slice", out.getvalue())


class Surface(unittest.TestCase):
    def test_stubs_are_what_there_is(self):
        stub = ast.parse((pathlib.Path(libslice.__file__).parent / "__init__.pyi").read_text())
        for node in stub.body:
            if isinstance(node, ast.FunctionDef):
                self.compare(node, getattr(libslice, node.name))
            elif isinstance(node, ast.ClassDef) and node.name not in ("Progress", "TextPiece"):
                for member in node.body:
                    if isinstance(member, ast.FunctionDef) and not member.decorator_list:
                        self.compare(member, getattr(getattr(libslice, node.name), member.name))
        stubbed = {node.name for node in stub.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
        self.assertEqual(stubbed, set(libslice.__all__))

    def compare(self, node, function):
        named = [argument.arg for argument in node.args.args + node.args.kwonlyargs]
        actual = [name for name, p in inspect.signature(function).parameters.items()
                  if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        self.assertEqual(named, actual, node.name)
        defaults = {name: p.default for name, p in inspect.signature(function).parameters.items()
                    if p.default is not p.empty}
        given = [*node.args.defaults, *(value for value in node.args.kw_defaults if value is not None)]
        self.assertEqual([ast.literal_eval(value) for value in given], list(defaults.values()), node.name)

    def test_everything_has_a_docstring(self):
        for name in libslice.__all__:
            self.assertTrue(getattr(libslice, name).__doc__, name)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    unittest.main()
