// bench_batch MODEL --slots 64: a slice::Batch that is kept full, without engine or HTTP: what
// benchmarks/serve/load.py is to be compared with. Texts have a prompt of random tokens each, and
// lengths spread evenly up to --tokens; one that ends makes room for the next. Prints one JSON
// object.

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdio>

#include "examples/cli.h"
#include "libslice/decode/batch.h"
#include "libslice/model/decoder.h"

namespace {

struct Options {
  std::string model, dtype = "keep";
  std::optional<at::Device> device;
  int64_t slots = 64, texts = 512, prompt = 40, tokens = 96;
  std::optional<int64_t> step;  // tokens; as the engine's where it is absent
};

void add_options(CLI::App& app, Options& o) {
  app.add_option("MODEL", o.model, "Hugging Face directory, .gguf, or llama2.c .bin")->required();
  cli::add_device_option(app, o.device);
  cli::add_dtype_option(app, o.dtype, "type of the weights in memory; keep is float32 on the CPU");
  cli::add_threads_option(app);
  const auto number = [&app](const char* name, int64_t& value, const char* help) {
    app.add_option(name, value, help)->check(cli::at_least(1))->capture_default_str();
  };
  number("--slots", o.slots, "texts at the same time");
  number("--texts", o.texts, "texts in all");
  number("--prompt", o.prompt, "tokens of a prompt");
  number("--tokens", o.tokens, "tokens of the longest text");
  app.add_option("--step", o.step, "tokens of a step")->default_str("4 on a GPU, 1 on the CPU");
}

struct Result {
  int64_t tokens = 0;
  double prompts = 0, steps = 0;  // seconds
};

/// @param step  tokens of a step
Result run(const slice::Model& model, slice::Batch& batch, const Options& o, int64_t step) {
  const int64_t V = model.config().vocabulary_size;
  const at::Tensor prompts = at::randint(0, V, {o.texts, o.prompt}, at::kLong);  // (texts, prompt)
  Result result;
  int64_t begun = 0;
  while (begun < o.texts || batch.running() > 0) {
    const double begin = cli::seconds();
    std::vector<int64_t> waiting;
    while (begun < o.texts && batch.running() < batch.slots()) {
      const int64_t* first = prompts.const_data_ptr<int64_t>() + begun * o.prompt;
      const int64_t tokens = 1 + begun * 37 % o.tokens;
      waiting.push_back(*batch.begin({first, first + o.prompt}, {.max_tokens = tokens}));
      ++begun;
    }
    batch.feed(waiting, std::ssize(waiting) * o.prompt);
    const double middle = cli::seconds();
    for (const slice::BatchOutput& output : batch.step(step))
      result.tokens += std::ssize(output.tokens);
    result.prompts += middle - begin;
    result.steps += cli::seconds() - middle;
  }
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app("Measures a batch that is kept full.", "bench_batch");
  add_options(app, o);
  return cli::run(app, argc, argv, [&] {
    at::manual_seed(0);
    const slice::Model model = cli::load(o.model, o.device, o.dtype);
    const bool gpu = model.decoder().device().is_cuda();
    const int64_t step = o.step.value_or(gpu ? 4 : 1);
    slice::Batch batch(model, o.slots, o.prompt + o.tokens);
    run(model, batch, o, step);  // captures a GPU's graphs
    const Result r = run(model, batch, o, step);
    const double seconds = r.prompts + r.steps;
    std::printf(
        "{\"slots\": %ld, \"texts\": %ld, \"prompt\": %ld, \"tokens\": %ld, \"seconds\": %.3f, "
        "\"prompt_seconds\": %.3f, \"tokens_per_second\": %.1f}\n",
        static_cast<long>(o.slots), static_cast<long>(o.texts), static_cast<long>(o.prompt),
        static_cast<long>(r.tokens), seconds, r.prompts, static_cast<double>(r.tokens) / seconds);
  });
}
