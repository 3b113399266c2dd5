"""OpenAI's own Python client against the server.

    python3 openai_client_test.py BIN          BIN has serve

Wants the package openai; without it this says so and is skipped (exit code 77).
"""

import importlib.util
import json
import pathlib
import shutil
import sys
import tempfile
import unittest

if importlib.util.find_spec("openai") is None:
    print("skipped: the package openai is not installed")
    sys.exit(77)

import openai  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "serve"))
from server import MODEL, Server  # noqa: E402

BINARIES = sys.argv.pop(1) if len(sys.argv) > 1 else "build/cpu/bin"
PROMPT = "The history of the"
TEMPLATE = ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if tools %}tools: {{ tools | tojson }}"
            "\n{% endif %}{% if add_generation_prompt %}assistant:{% endif %}")


def with_template(directory):
    """The tiny model with a chat template."""
    target = pathlib.Path(directory) / "tiny"
    shutil.copytree(MODEL, target)
    config = json.loads((target / "tokenizer_config.json").read_text())
    (target / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": TEMPLATE}))
    return target


class Client(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.server = Server(BINARIES, "--api-key", "secret", model=with_template(cls.directory.name))
        base = f"http://127.0.0.1:{cls.server.port}/v1"
        cls.client = openai.OpenAI(base_url=base, api_key="secret", max_retries=0)
        cls.stranger = openai.OpenAI(base_url=base, api_key="wrong", max_retries=0)
        cls.model = cls.client.models.list().data[0].id

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.stranger.close()
        cls.server.__exit__()
        cls.directory.cleanup()

    def test_models(self):
        self.assertEqual(self.model, "tiny")

    def test_completions_plain_and_streamed_are_the_same(self):
        arguments = {"model": self.model, "prompt": PROMPT, "max_tokens": 24, "seed": 4, "temperature": 0.9, "n": 2}
        plain = self.client.completions.create(**arguments)
        self.assertEqual(plain.usage.completion_tokens, 48)
        self.assertEqual([choice.finish_reason for choice in plain.choices], ["length"] * 2)
        texts, usage = ["", ""], None
        for chunk in self.client.completions.create(**arguments, stream=True, stream_options={"include_usage": True}):
            for choice in chunk.choices:
                texts[choice.index] += choice.text
            usage = chunk.usage or usage
        self.assertEqual(texts, [choice.text for choice in plain.choices])
        self.assertEqual(usage.completion_tokens, plain.usage.completion_tokens)

    def test_log_probabilities_of_completions(self):
        answer = self.client.completions.create(model=self.model, prompt=PROMPT, max_tokens=5, temperature=0,
                                                logprobs=3, echo=True)
        scores = answer.choices[0].logprobs
        self.assertEqual("".join(scores.tokens), answer.choices[0].text)
        self.assertIsNone(scores.token_logprobs[0])
        self.assertEqual(len(scores.top_logprobs), len(scores.tokens))

    def test_chats_plain_and_streamed_are_the_same(self):
        messages = [{"role": "system", "content": "be brief"},
                    {"role": "user", "content": [{"type": "text", "text": "hello"}]}]
        arguments = {"model": self.model, "messages": messages, "max_completion_tokens": 20, "seed": 1,
                     "temperature": 0.7, "logprobs": True, "top_logprobs": 2}
        plain = self.client.chat.completions.create(**arguments)
        message = plain.choices[0].message
        self.assertEqual(message.role, "assistant")
        content = plain.choices[0].logprobs.content
        self.assertEqual(b"".join(bytes(token.bytes) for token in content).decode(), message.content)
        self.assertTrue(all(len(token.top_logprobs) == 2 for token in content))
        text, roles, tokens, finish = "", [], [], None
        for chunk in self.client.chat.completions.create(**arguments, stream=True):
            choice = chunk.choices[0]
            text += choice.delta.content or ""
            roles += [choice.delta.role] if choice.delta.role else []
            tokens += choice.logprobs.content if choice.logprobs else []
            finish = choice.finish_reason or finish
        self.assertEqual((text, roles, finish), (message.content, ["assistant"], plain.choices[0].finish_reason))
        self.assertEqual([token.logprob for token in tokens], [token.logprob for token in content])

    def test_tools_reach_the_template(self):
        tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
        arguments = {"model": self.model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
        plain = self.client.chat.completions.create(**arguments).usage.prompt_tokens
        with_tools = self.client.chat.completions.create(**arguments, tools=tools).usage.prompt_tokens
        none = self.client.chat.completions.create(**arguments, tools=tools, tool_choice="none").usage.prompt_tokens
        self.assertGreater(with_tools, plain)
        self.assertEqual(none, plain)

    def test_stop_and_json(self):
        whole = self.client.completions.create(model=self.model, prompt=PROMPT, max_tokens=30, temperature=0)
        stop = whole.choices[0].text[8:11]
        answer = self.client.completions.create(model=self.model, prompt=PROMPT, max_tokens=30, temperature=0, stop=[stop])
        self.assertEqual(answer.choices[0].text, whole.choices[0].text[:whole.choices[0].text.index(stop)])
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        schema = {"type": "object", "properties": {"kind": {"enum": ["a", "b"]}}, "required": ["kind"],
                  "additionalProperties": False}
        answer = self.client.chat.completions.create(
            model=self.model, messages=[{"role": "user", "content": "hi"}], max_tokens=100, seed=2,
            response_format={"type": "json_schema", "json_schema": {"name": "kind", "strict": True, "schema": schema}})
        self.assertIn(answer.choices[0].message.content.replace(" ", "").replace("\n", "").replace("\t", ""),
                      ('{"kind":"a"}', '{"kind":"b"}'))

    def test_errors_are_the_clients_exceptions(self):
        create = self.client.completions.create
        with self.assertRaises(openai.BadRequestError) as caught:
            create(model=self.model, prompt=PROMPT, max_tokens=-1)
        self.assertEqual((caught.exception.param, caught.exception.type), ("max_tokens", "invalid_request_error"))
        with self.assertRaises(openai.NotFoundError) as caught:
            create(model="other", prompt=PROMPT)
        self.assertEqual(caught.exception.code, "model_not_found")
        with self.assertRaises(openai.BadRequestError) as caught:
            create(model=self.model, prompt=[5] * 300)
        self.assertEqual(caught.exception.code, "context_length_exceeded")
        with self.assertRaises(openai.AuthenticationError):
            self.stranger.models.list()
        with self.assertRaises(openai.BadRequestError):
            self.client.chat.completions.create(model=self.model, messages=[])
        with self.assertRaises(openai.BadRequestError):
            self.client.chat.completions.create(model=self.model, messages=[
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}])

    def test_a_stream_may_be_left(self):
        for _ in range(3):
            stream = self.client.completions.create(model=self.model, prompt=PROMPT, max_tokens=200, stream=True)
            next(iter(stream))
            stream.close()
        self.assertEqual(len(self.client.models.list().data), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
