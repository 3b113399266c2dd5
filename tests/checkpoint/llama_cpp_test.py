"""What write_gguf writes, run by llama.cpp: logits and greedy tokens beside those of Transformers.

    python3 llama_cpp_test.py BIN [NAME …]          BIN has write_gguf and slice_model

Wants the packages xllamacpp, torch and transformers; without them it says so and is skipped (exit code 77). With
LLAMA_CPP, a checkout of llama.cpp, its own conversion is run too: its file and ours hold the same tensors bit for
bit, and ours that is written from its file is the one written from the model. Every case is a random model of a
family; "ffn" ones are narrowed to one width of their channels, "k" ones have a smaller hidden size, both by
slice_model.
"""

import ctypes
import glob
import importlib.util
import json
import logging
import os
import pathlib
import subprocess
import sys
import tempfile

from llama_cpp_cases import CASES, CONTEXT, EXACT, QUANTISED, SLICED, SLICING, UNCONVERTED

SKIPPED = 77
TOKENS, GREEDY = 40, 32


def missing():
    names = [name for name in ("xllamacpp", "torch", "transformers") if importlib.util.find_spec(name) is None]
    return ", ".join(names)


class LlamaCpp:
    """llama.cpp's C functions, from the library that the package xllamacpp brings; keys and values in float32."""

    class Params(ctypes.Structure):
        _fields_ = [("words", ctypes.c_uint32 * 256)]

    class Batch(ctypes.Structure):
        _fields_ = [("n_tokens", ctypes.c_int32), ("token", ctypes.POINTER(ctypes.c_int32)), ("embd", ctypes.c_void_p),
                    ("pos", ctypes.POINTER(ctypes.c_int32)), ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
                    ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
                    ("logits", ctypes.POINTER(ctypes.c_int8))]

    # Places of llama_context_params in words of 4 bytes.
    SIZES, FLASH, KEY_TYPE, VALUE_TYPE = (0, 1, 2), 13, 26, 27

    def __init__(self):
        folder = importlib.util.find_spec("xllamacpp").submodule_search_locations[0]
        self.lib = lib = ctypes.CDLL(glob.glob(folder + "/*.so")[0])
        pointer = ctypes.c_void_p
        for name, result, arguments in [
                ("llama_model_default_params", self.Params, []), ("llama_context_default_params", self.Params, []),
                ("llama_model_load_from_file", pointer, [ctypes.c_char_p, self.Params]),
                ("llama_init_from_model", pointer, [pointer, self.Params]),
                ("llama_batch_init", self.Batch, [ctypes.c_int32] * 3),
                ("llama_decode", ctypes.c_int, [pointer, self.Batch]),
                ("llama_get_logits", ctypes.POINTER(ctypes.c_float), [pointer]), ("llama_free", None, [pointer]),
                ("llama_model_free", None, [pointer]), ("llama_batch_free", None, [self.Batch])]:
            getattr(lib, name).restype, getattr(lib, name).argtypes = result, arguments
        self.said = []
        log = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
        self.log = log(lambda level, text, data: self.said.append(text.decode(errors="replace")))
        lib.llama_log_set(self.log, None)
        lib.llama_backend_init()

    def logits(self, path, ids, vocabulary):
        """Of every position, and the tokens that follow greedily."""
        import numpy
        lib, self.said[:] = self.lib, []
        model = lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params())
        assert model, "llama.cpp does not load it: " + "".join(self.said[-3:])
        params = lib.llama_context_default_params()
        for place in self.SIZES:
            params.words[place] = CONTEXT
        params.words[self.FLASH] = params.words[self.KEY_TYPE] = params.words[self.VALUE_TYPE] = 0
        context = lib.llama_init_from_model(model, params)
        assert context, "".join(self.said[-3:])
        batch = lib.llama_batch_init(CONTEXT, 0, 1)

        def decode(tokens, first):
            batch.n_tokens = len(tokens)
            for i, token in enumerate(tokens):
                batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, first + i, 1, 1
                batch.seq_id[i][0] = 0
            assert lib.llama_decode(context, batch) == 0
            return numpy.ctypeslib.as_array(lib.llama_get_logits(context), (len(tokens), vocabulary)).copy()

        logits, text = decode(ids, 0), []
        last = logits[-1]
        while len(text) < GREEDY:
            text.append(int(last.argmax()))
            last = decode(text[-1:], len(ids) + len(text) - 1)[-1]
        lib.llama_batch_free(batch), lib.llama_free(context), lib.llama_model_free(model)
        return logits, text


def write_tokenizer(folder):
    """Byte-level BPE of 256 bytes and a few merges."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(["the rain in Spain stays mainly in the plain"] * 9, trainers.BpeTrainer(
        vocab_size=290, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        dict(tokenizer_class="PreTrainedTokenizerFast", bos_token="<s>", eos_token="</s>")))


def write_model(name, folder):
    import torch
    import transformers
    kind, options, _ = CASES[name]
    config_name = {"GPT2LMHead": "GPT2Config"}.get(kind, kind + "Config")
    model_name = {"GPT2LMHead": "GPT2LMHeadModel", "Gemma3Text": "Gemma3ForCausalLM"}.get(kind, kind + "ForCausalLM")
    torch.manual_seed(7)
    model = getattr(transformers, model_name)(getattr(transformers, config_name)(**options)).float().eval()
    with torch.no_grad():
        for key, value in model.named_parameters():
            if value.dim() > 1:
                embedding = "embed" in key or "wte" in key or "wpe" in key
                spread = 0.5 if not model.config.tie_word_embeddings else 0.05  # else every token follows itself
                value.normal_(0, spread if embedding else value.shape[-1 if "c_" not in key else 0] ** -0.5)
            else:
                value.add_(torch.randn_like(value) * 0.2)
    model.save_pretrained(folder)
    write_tokenizer(folder)


def reference(folder, ids):
    import torch
    import transformers
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].numpy()
        text = list(ids)
        for _ in range(GREEDY):
            text.append(int(model(torch.tensor([text])).logits[0, -1].argmax()))
    return logits, text[len(ids):]


def run(program, *arguments):
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, f"{program.name}: {done.stderr.strip()[-400:]}"


def tensors(path):
    import gguf
    return {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}


def keys(path):
    """What a file says of the network: not of its words, nor what the conversion leaves out or knows otherwise."""
    import gguf
    reader = gguf.GGUFReader(path)
    architecture = reader.fields["general.architecture"].contents()
    left = {"vocab_size"} | ({"context_length"} if architecture in ("falcon", "hunyuan-dense") else set())
    return {key.partition(".")[2]: field.contents() for key, field in reader.fields.items()
            if key.startswith(architecture + ".") and key.partition(".")[2] not in left}


def copied_vocabulary(model):
    """Instead of the conversion's, which knows the tokenizers of published models alone."""
    import gguf
    words = json.loads((model.dir_model / "tokenizer.json").read_text())["model"]
    model.gguf_writer.add_tokenizer_model("gpt2")
    model.gguf_writer.add_tokenizer_pre("gpt-2")
    model.gguf_writer.add_token_list(sorted(words["vocab"], key=words["vocab"].get))
    model.gguf_writer.add_token_types([gguf.TokenType.NORMAL] * len(words["vocab"]))
    model.gguf_writer.add_token_merges([" ".join(pair) for pair in words["merges"]])


def converted(checkout, folder, path, matrices="ALL_F32"):
    """By llama.cpp's own conversion."""
    sys.path[:0] = [checkout + "/gguf-py", checkout]
    import conversion
    import gguf
    config = json.loads((folder / "config.json").read_text())
    # Keys that Transformers 5 writes elsewhere or otherwise.
    config.setdefault("rotary_pct", config.get("rope_parameters", {}).get("partial_rotary_factor", 1.0))
    if config.get("multi_query") and not config["new_decoder_architecture"]:
        config["num_kv_heads"] = 1
    kind = conversion.get_model_class(config["architectures"][0])
    getattr(kind, "Ministral3Model", kind).set_vocab = copied_vocabulary
    for constants in ("_alpha_n", "_alpha_p", "_beta", "_eps"):  # of an Apertus, kept from one model to the next
        getattr(kind, constants, {}).clear()
    logging.disable()
    kind(folder, getattr(gguf.LlamaFileType, matrices), path, eager=True, hparams=config).write()


def compare_conversion(checkout, binaries, folder, ours, scratch):
    import numpy
    theirs, again = scratch / "theirs.gguf", scratch / "again.gguf"
    converted(checkout, folder, theirs)
    mine, other = tensors(ours), tensors(theirs)
    assert set(mine) == set(other), f"tensors: {sorted(set(mine) ^ set(other))}"
    for name in mine:
        got, want = mine[name].data, other[name].data
        if name == "rope_freqs.weight":  # computed in float32 there
            assert numpy.allclose(got, want, rtol=1e-6, atol=0), name
            continue
        if name == "token_embd.weight":  # a Gemma's rows without a token are left out there
            got = got[:len(want)]
        assert got.shape == want.shape and got.tobytes() == want.tobytes(), name
    run(binaries / "write_gguf", theirs, again, "--gguf-type", "f32", "--quiet")
    back = tensors(again)
    assert set(back) == set(mine), f"written from the conversion's file: {sorted(set(back) ^ set(mine))}"
    known, read = keys(ours), keys(again)
    different = {key: (known.get(key), read.get(key)) for key in known | read if known.get(key) != read.get(key)}
    assert not different, f"keys, ours and written from the conversion's file: {different}"
    for name in back:
        assert back[name].data.tobytes() == other[name].data.tobytes() or name == "rope_freqs.weight", name


def compare_quantised(checkout, binaries, folder, scratch):
    """Q8_0, of stacks too: the conversion's bytes, and its numbers as they are read."""
    ours, theirs, plain = (scratch / f"{name}-q8.gguf" for name in ("ours", "theirs", "plain"))
    run(binaries / "write_gguf", folder, ours, "--gguf-type", "q8_0", "--quiet")
    converted(checkout, folder, theirs, "MOSTLY_Q8_0")
    run(binaries / "write_gguf", theirs, plain, "--gguf-type", "f32", "--quiet")
    import gguf
    mine, other, read = tensors(ours), tensors(theirs), tensors(plain)
    assert set(mine) == set(other) == set(read)
    for name, want in other.items():
        assert mine[name].tensor_type == want.tensor_type and mine[name].data.tobytes() == want.data.tobytes(), name
        numbers = gguf.quants.dequantize(want.data, want.tensor_type)
        assert read[name].data.tobytes() == numbers.astype("float32").tobytes(), name


def check(name, path, folder, llama_cpp, tolerance):
    import numpy
    ids = numpy.random.default_rng(5).integers(2, 290, TOKENS).tolist()
    want, text = reference(folder, ids)
    got, greedy = llama_cpp.logits(path, ids, want.shape[1])
    difference = numpy.abs(got - want).max() / numpy.abs(want).max()
    assert difference <= tolerance, f"logits differ by {difference:.1e}"
    first = next((i for i in range(GREEDY) if greedy[i] != text[i]), GREEDY)
    assert first == GREEDY or tolerance > EXACT, f"greedy token {first} differs"
    return f"logits within {difference:.1e}, {first} of {GREEDY} greedy tokens equal"


def compare_text(binaries, llama_cpp, scratch):
    """A trained model, sliced and stored as Q8_0: llama.cpp writes what we write from its dequantised numbers."""
    data = pathlib.Path(__file__).resolve().parents[1] / "data"
    sliced, file = scratch / "sliced", scratch / "q8.gguf"
    run(binaries / "slice_model", data / "trained_phi", "--out", sliced, "--calibration", data / "torture.txt",
        "--context", 64, "--samples", 8, "--quiet", "--ffn", 448)
    run(binaries / "write_gguf", sliced, file, "--gguf-type", "q8_0", "--quiet")
    stored = {tensor.tensor_type.name for name, tensor in tensors(file).items() if tensor.data.ndim > 1}
    assert stored == {"Q8_0"}, stored

    def said(program, *arguments):
        done = subprocess.run([binaries / program, *map(str, arguments)], capture_output=True, check=True)
        return done.stdout.decode()

    prompt = "The "
    ids = [int(word) for word in said("tokenize", file, prompt).split()]
    vocabulary = json.loads((sliced / "config.json").read_text())["vocab_size"]
    greedy = llama_cpp.logits(file, ids, vocabulary)[1]
    ours = said("generate", file, "--prompt", prompt, "--max-tokens", GREEDY, "--quiet")
    theirs = said("tokenize", file, "--decode", " ".join(map(str, ids + greedy)))
    assert ours == theirs, f"{ours!r} and {theirs!r}"
    return f"the same greedy text: {ours!r}"


def main():
    lacking = missing()
    if lacking:
        print("skipped: these packages are not installed:", lacking)
        sys.exit(SKIPPED)
    binaries, wanted = pathlib.Path(sys.argv[1]), sys.argv[2:]
    import transformers
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    llama_cpp, failures, checkout = LlamaCpp(), [], os.environ.get("LLAMA_CPP")

    def attempt(label, work):
        try:
            print(f"{label:28} {work()}", flush=True)
        except Exception as error:
            failures.append(label)
            print(f"{label:28} FAILED: {type(error).__name__}: {str(error)[-400:]}", flush=True)

    for name, (_, _, tolerance) in CASES.items():
        if wanted and name not in wanted:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            scratch = pathlib.Path(scratch)
            folder, file = scratch / "model", scratch / "model.gguf"
            write_model(name, folder)

            def dense():
                run(binaries / "write_gguf", folder, file, "--gguf-type", "f32", "--quiet")
                said = check(name, file, folder, llama_cpp, tolerance)
                if checkout and name not in UNCONVERTED:
                    compare_conversion(checkout, binaries, folder, file, scratch)
                    said += "; the conversion's tensors, and the same from its file"
                    if name in QUANTISED:
                        compare_quantised(checkout, binaries, folder, scratch)
                        said += "; and in Q8_0"
                return said

            attempt(name, dense)
            for form, names in SLICED.items():
                if name not in names:
                    continue

                def sliced():
                    result, written = scratch / form, scratch / (form + ".gguf")
                    text = scratch / "text.txt"
                    text.write_text("the rain in Spain stays mainly in the plain, " * 200)
                    run(binaries / "slice_model", folder, "--out", result, "--calibration", text, "--context", 64,
                        "--samples", 8, "--quiet", *SLICING[form])
                    run(binaries / "write_gguf", result, written, "--gguf-type", "f32", "--quiet")
                    return check(name, written, result, llama_cpp, max(tolerance, 4 * EXACT))

                attempt(f"{name}, {form}", sliced)
    if not wanted or "text" in wanted:
        with tempfile.TemporaryDirectory() as scratch:
            attempt("trained_phi, Q8_0", lambda: compare_text(binaries, llama_cpp, pathlib.Path(scratch)))
    sys.exit(f"{len(failures)} failed: {', '.join(failures)}" if failures else 0)


if __name__ == "__main__":
    main()
