#include "examples/serve/options.h"

#include <fstream>

#include "examples/cli.h"

namespace serve {
namespace {

void read_keys(const std::string& path, std::vector<std::string>& keys) {
  std::ifstream file(path);
  if (!file) throw CLI::ValidationError("--api-key-file", "cannot read " + path);
  for (std::string line; std::getline(file, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty()) keys.push_back(line);
  }
  if (keys.empty()) throw CLI::ValidationError("--api-key-file", path + " holds no key");
}

void add_model_options(CLI::App& app, ServeOptions& o) {
  app.add_option("MODEL", o.model, "Hugging Face directory, .gguf, or llama2.c .bin")->required();
  app.add_option("--name", o.name, "what clients call the model")
      ->default_str("the name of its file or directory");
  cli::add_device_option(app, o.device);
  cli::add_devices_option(app, o.devices);
  cli::add_dtype_option(app, o.dtype, "type of the weights in memory; keep is float32 on the CPU");
  cli::add_threads_option(app);
  app.add_option("--slots", o.slots, "texts that are written at the same time")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--context", o.context, "tokens of a text at most, its prompt included")
      ->check(cli::at_least(2))
      ->default_str("the model's, 4096 at most");
  app.add_option("--queue", o.queue, "requests that may wait; more are answered 429")
      ->check(cli::at_least(1))
      ->capture_default_str();
  app.add_option("--prompt-chunk", o.prompt_chunk, "tokens of a prompt between two steps")
      ->check(cli::at_least(1))
      ->capture_default_str();
  app.add_option("--prefix-cache", o.prefix_bytes,
                 "memory for the beginnings of prompts that come again, e.g. 512MiB; 0: none")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
}

void add_http_options(CLI::App& app, ServeOptions& o) {
  app.add_option("--host", o.host, "address to listen at; 0.0.0.0 is every one")
      ->capture_default_str();
  app.add_option("--port", o.port, "0: any that is free")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  app.add_option("--api-key", o.api_keys,
                 "key that clients must show; repeatable. Other users of "
                 "this machine can read it: prefer --api-key-file");
  app.add_option_function<std::string>(
      "--api-key-file", [&o](const std::string& path) { read_keys(path, o.api_keys); },
      "file of such keys, one a line");
  app.add_option("--max-body", o.http.body_bytes, "bytes of a request, e.g. 8MiB")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  app.add_option("--max-connections", o.http.connections, "open at once, a thread each")
      ->check(CLI::Range(1, 900))
      ->capture_default_str();
  app.add_option("--receive-timeout", o.http.receive_seconds, "seconds to receive a request")
      ->check(cli::at_least(1))
      ->capture_default_str();
  app.add_option("--send-timeout", o.http.send_seconds,
                 "seconds for which a client may take nothing of its answer")
      ->check(cli::at_least(1))
      ->capture_default_str();
  app.add_option("--idle-timeout", o.http.idle_seconds, "seconds between two requests")
      ->check(cli::at_least(1))
      ->capture_default_str();
  app.add_option("--request-timeout", o.request_seconds, "seconds until an answer has to be whole")
      ->check(cli::at_least(1))
      ->capture_default_str();
  app.add_option("--stop-timeout", o.stop_seconds, "seconds for running texts after SIGTERM")
      ->check(cli::at_least(0))
      ->capture_default_str();
  app.add_flag("--quiet", o.quiet, "no log on stderr");
}

}  // namespace

void add_options(CLI::App& app, ServeOptions& options) {
  add_model_options(app, options);
  add_http_options(app, options);
}

}  // namespace serve
