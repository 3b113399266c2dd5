// serve MODEL --port 8080: OpenAI's completions and chats over HTTP, answered by one model.

#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <thread>
#include <utility>

#include "examples/cli.h"
#include "examples/serve/options.h"
#include "examples/serve/server.h"
#include "libslice/slice.h"

namespace {

using std::chrono::seconds;

std::atomic<bool> asked_to_stop{false};

void on_signal(int) {
  if (asked_to_stop.exchange(true)) _exit(130);  // the second time without waiting for anybody
}

void stop_on_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

void say(const serve::ServeOptions& options, const std::string& line) {
  if (!options.quiet) std::fprintf(stderr, "serve: %s\n", line.c_str());
}

std::string name_of(const serve::ServeOptions& options) {
  if (!options.name.empty()) return options.name;
  const std::filesystem::path path = std::filesystem::path(options.model).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

/// Tokens of a text: no more than the model has positions for.
int64_t capacity_of(const serve::ServeOptions& options, const slice::ModelConfig& config) {
  constexpr int64_t kMost = 4096;
  if (!options.context) return std::min({config.context_length, config.positions(), kMost});
  if (*options.context > config.positions())
    throw CLI::ValidationError(
        "--context", "the model has " + std::to_string(config.positions()) + " positions");
  return *options.context;
}

std::shared_ptr<const serve::ServedModel> load(const serve::ServeOptions& options) {
  std::shared_ptr<const slice::Model> model;
  std::shared_ptr<const slice::DividedModel> divided;
  if (options.devices.empty()) {
    model = std::make_shared<slice::Model>(cli::load(options.model, options.device, options.dtype));
  } else {
    divided = std::make_shared<slice::DividedModel>(
        *cli::load_divided(options.model, options.devices, {}, {}, options.dtype));
  }
  auto served = std::make_shared<serve::ServedModel>();
  served->name = name_of(options);
  served->tokenizer = slice::load_tokenizer(options.model);
  served->bytes = std::make_shared<const slice::TokenBytes>(*served->tokenizer);
  served->capacity = capacity_of(options, model ? model->config() : divided->config());
  served->most_prompts = options.queue;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  served->created = std::chrono::duration_cast<seconds>(now).count();
  slice::EngineOptions engine = {
      .models = {{.name = served->name,
                  .model = model,
                  .divided = divided,
                  .tokenizer = served->tokenizer,
                  .slots = options.slots,
                  .capacity = served->capacity}},
      .queue = options.queue,
      .prompt_chunk = options.prompt_chunk,
      .prefix_bytes = options.prefix_bytes,
      .log = [&options](const std::string& line) { say(options, line); }};
  constexpr double kMiB = 1 << 20;
  const slice::EngineBytes bytes = slice::engine_bytes(engine);
  char text[160];
  std::snprintf(text, sizeof text,
                "%.0f MiB of weights, %.0f MiB of keys and values for %ld texts of %ld tokens%s",
                static_cast<double>(bytes.weights) / kMiB, static_cast<double>(bytes.cache) / kMiB,
                static_cast<long>(options.slots), static_cast<long>(served->capacity),
                divided ? ", on the first GPU" : "");
  say(options, text);
  served->engine = std::make_shared<slice::Engine>(std::move(engine));
  served->engine->warm_up();
  return served;
}

/// A thread a connection, each with a heap of its own, would keep what its largest request took.
void bound_heaps() {
  mallopt(M_ARENA_MAX, 2);
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
  mallopt(M_TRIM_THRESHOLD, 8 << 20);
}

void serve_until_stopped(const serve::ServeOptions& options) {
  serve::Server server(options);
  const int port = server.http().bind(options.host, options.port);
  say(options, "listening at http://" + options.host + ":" + std::to_string(port));
  std::thread listener([&server] { server.http().run(); });
  while (!server.http().is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::shared_ptr<const serve::ServedModel> model;
  try {
    model = load(options);
  } catch (...) {
    server.http().stop();
    listener.join();
    throw;
  }
  stop_on_signals();
  server.set_model(model);
  std::printf("serving %s at http://%s:%d\n", model->name.c_str(), options.host.c_str(), port);
  std::fflush(stdout);
  while (!asked_to_stop) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  say(options, "stopping: running texts end, new requests are refused");
  server.set_stopping();
  if (!model->engine->drain(seconds(options.stop_seconds))) {
    say(options, "some texts did not end in time");
    model->engine->stop();
  }
  if (!server.http().wait_for_answers(seconds(options.http.send_seconds)))
    say(options, "some clients did not take their answers in time");
  server.http().stop();
  listener.join();
}

}  // namespace

int main(int argc, char** argv) {
  bound_heaps();
  serve::ServeOptions options;
  CLI::App app("Answers OpenAI's API with a language model.", "serve");
  serve::add_options(app, options);
  return cli::run(app, argc, argv, [&] { serve_until_stopped(options); });
}
