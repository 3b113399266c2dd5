"""Models of Transformers, held in memory: sliced, and loaded back by Transformers.

    python transformers_test.py

Wants the package transformers; without it this says so and is skipped (exit code 77).
"""

import importlib.util
import sys
import unittest

if importlib.util.find_spec("transformers") is None:
    print("skipped: the package transformers is not installed")
    sys.exit(77)

import torch  # noqa: E402
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM  # noqa: E402

import libslice  # noqa: E402

SIZES = dict(vocab_size=128, hidden_size=64, intermediate_size=192, num_hidden_layers=3, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=256)


def random_llama(**sizes):
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**{**SIZES, **sizes})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


def logits(model, tokens):
    with torch.no_grad():
        return model(input_ids=tokens).logits.float()


def back(config, state_dict):
    """What Transformers makes of a configuration and tensors."""
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config)).eval()
    model.load_state_dict(state_dict, strict=False)  # a tied head is not stored
    loaded = {name for name, _ in model.named_parameters()}
    assert loaded == state_dict.keys(), loaded ^ state_dict.keys()
    return model


class InMemory(unittest.TestCase):
    def setUp(self):
        self.tokens = torch.randint(SIZES["vocab_size"], (16, 64), generator=torch.Generator().manual_seed(1))

    def check(self, got, want):
        # Two orders of the same float32 sums, through three layers: a thousand roundings of the largest logit.
        torch.testing.assert_close(got, want, rtol=0, atol=1000 * 2**-24 * float(want.abs().max()))

    def test_a_model_is_the_same_in_both(self):
        for tied in False, True:
            theirs = random_llama(tie_word_embeddings=tied)
            ours = libslice.Model(theirs.config, theirs.state_dict(), device="cpu")
            self.check(ours.logits(self.tokens), logits(theirs, self.tokens))
            config, state_dict = ours.state_dict()
            self.check(logits(back(config, state_dict), self.tokens), logits(theirs, self.tokens))

    def test_a_sliced_model_loads_back(self):
        for options in {"remove_blocks": 0.25, "round": 8}, {"slice": 0.25, "head": "slice"}, {"ffn": 96}:
            with self.subTest(**options):
                theirs = random_llama()
                before = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
                sliced, report = libslice.slice_model((theirs.config, theirs.state_dict()), self.tokens, device="cpu",
                                                      **options)
                self.assertTrue(sliced.description["stock"])
                for name, tensor in theirs.state_dict().items():
                    self.assertTrue(torch.equal(tensor, before[name]), name)
                config, state_dict = sliced.state_dict("fp32")
                loaded = back(config, state_dict)
                self.assertEqual(sum(p.numel() for p in loaded.parameters()), report["parameters"]["after"])
                self.check(logits(loaded, self.tokens), sliced.logits(self.tokens))

    def test_the_model_itself_will_do(self):
        theirs = random_llama()
        sliced, report = libslice.slice_model(theirs, self.tokens, remove=0.1, round=8, device="cpu")
        self.assertLess(report["parameters"]["after"], sum(p.numel() for p in theirs.parameters()))

    def test_half_precision_crosses_as_it_is(self):
        theirs = random_llama().to(torch.bfloat16)
        config, state_dict = libslice.Model(theirs.config, theirs.state_dict(), device="cpu").state_dict()
        for name, tensor in theirs.state_dict().items():
            self.assertTrue(torch.equal(state_dict[name], tensor), name)


if __name__ == "__main__":
    unittest.main()
