// generate MODEL --prompt TEXT: continues a text, streamed to stdout; with --chat, answers it.

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <optional>

#include "cli.h"
#include "libslice/model/decoder.h"
#include "libslice/slice.h"

namespace {

std::vector<int64_t> asked(const slice::Tokenizer& tokenizer, const std::string& prompt,
                           const std::optional<std::string>& system) {
  std::vector<slice::ChatMessage> messages;
  if (system) messages.push_back({"system", *system});
  messages.push_back({"user", prompt});
  return slice::encode_chat(tokenizer, messages);
}

/// Says that a text ended early because the model has no further position, or that it went on past
/// those it was trained for.
void report_length(const slice::Model& model, int64_t length, bool early) {
  const int64_t trained = model.config().context_length;
  if (length > trained && length < model.config().positions())
    cli::warn("the text has " + std::to_string(length) + " tokens, the model was trained for " +
              std::to_string(trained));
  if (!early || length < model.config().positions()) return;
  std::fprintf(stderr, "the text ends at position %lld, the model's last\n",
               static_cast<long long>(length));
}

/// Positions of the whole text at most.
int64_t room(const slice::Model& model, const std::vector<int64_t>& ids,
             const slice::GenerateOptions& options) {
  model.decoder().check_positions(std::ssize(ids));
  const int64_t length = std::ssize(ids);
  return length + std::min(options.max_tokens, model.decoder().positions() - length);
}

}  // namespace

int main(int argc, char** argv) {
  std::string path, prompt, dtype = "keep";
  std::optional<at::Device> device;
  std::vector<at::Device> devices;
  slice::GenerateOptions options;
  std::optional<cli::Division> parallel;
  std::optional<std::string> system;
  bool quiet = false, chat = false;
  CLI::App app("Continues a text with a language model.", "generate");
  app.add_option("MODEL", path, "Hugging Face directory, .gguf, or llama2.c .bin")->required();
  app.add_option("--prompt", prompt, "text to continue; - is stdin")->required();
  CLI::Option* chat_flag =
      app.add_flag("--chat", chat, "the prompt is a message, put into the model's chat template");
  app.add_option("--system", system, "a system message before it")->needs(chat_flag);
  app.add_option("--max-tokens", options.max_tokens, "tokens to write at most")
      ->check(cli::at_least(0))
      ->capture_default_str();
  app.add_option("--temperature", options.sampling.temperature, "0 takes the most likely token")
      ->check(cli::at_least(0))
      ->capture_default_str();
  app.add_option("--top-p", options.sampling.top_p,
                 "sample from the fewest tokens that have this probability together, in (0, 1]")
      ->capture_default_str();
  app.add_option("--seed", options.seed)->capture_default_str();
  cli::add_device_option(app, device);
  cli::add_devices_option(app, devices);
  cli::add_parallel_option(app, parallel, "on GPUs as --devices, of one host; on the CPU tensor");
  cli::add_dtype_option(app, dtype, "type of the weights in memory; keep is float32 on the CPU");
  app.add_flag("--quiet", quiet, "no statistics on stderr");
  cli::add_threads_option(app);
  return cli::run(app, argc, argv, [&] {
    if (!(options.sampling.top_p > 0 && options.sampling.top_p <= 1))
      throw CLI::ValidationError("--top-p", "want a probability in (0, 1]");
    if (prompt == "-") prompt = slice::read_text("-");
    const slice::ProcessGroup group =
        devices.empty() ? cli::join_group(device) : slice::ProcessGroup();
    const auto division = cli::division_of(parallel, group, device);
    const bool in_parts = division && *division != cli::Division::kCaptured;
    const auto divided = in_parts ? std::optional<slice::DividedModel>()
                                  : cli::load_divided(path, devices, group, device, dtype);
    const slice::Model model = in_parts
                                   ? slice::model_without_weights(*slice::open_checkpoint(path))
                               : divided ? divided->whole().share()
                                         : cli::load(path, device, dtype);
    const slice::Tokenizer& tokenizer = model.tokenizer();
    if (chat && tokenizer.chat_template().empty()) {
      throw slice::FormatError(path + ": the model has no chat template");
    }
    const std::vector<int64_t> ids =
        chat ? asked(tokenizer, prompt, system) : slice::encode_prompt(tokenizer, prompt);
    options.stop_tokens = tokenizer.eos_tokens();
    if (group.rank() > 0) quiet = true;  // one process writes
    if (!chat && group.rank() == 0) std::fputs(prompt.c_str(), stdout);

    const auto print = [&](const std::string& piece) {
      if (group.rank() > 0) return true;
      std::fwrite(piece.data(), 1, piece.size(), stdout);
      std::fflush(stdout);
      return true;
    };
    slice::IncrementalDecoder decoder(tokenizer, ids);
    const double begin = cli::seconds();
    const auto show = [&](int64_t id) { return print(decoder.push(id)); };
    const auto part = in_parts ? cli::load_part(path, *division, group,
                                                {.device = slice::choose_device(device),
                                                 .dtype = cli::dtype_option(dtype),
                                                 .capacity = room(model, ids, options)})
                               : nullptr;
    const auto written = part      ? slice::generate(*part, ids, options, show)
                         : divided ? slice::generate(*divided, ids, options, show)
                                   : slice::generate(model, ids, options, show);
    print(decoder.finish() + "\n");
    report_length(model, std::ssize(ids) + std::ssize(written),
                  std::ssize(written) < options.max_tokens);
    if (!quiet) {
      std::fprintf(stderr, "%zu tokens, %.1f tokens/s\n", written.size(),
                   static_cast<double>(written.size()) / (cli::seconds() - begin));
    }
  });
}
