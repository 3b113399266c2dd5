#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "libslice/device/device.h"

namespace serve {

/// What bounds a connection and a request.
struct HttpLimits {
  int64_t body_bytes = int64_t{8} << 20;
  int64_t header_bytes = int64_t{64} << 10;
  int connections = 256;     ///< at once, a thread each; more are answered 503 at once
  int requests = 10'000;     ///< of one connection
  int receive_seconds = 30;  ///< until a request is there, from its first byte
  int send_seconds = 30;     ///< that a client may take no byte of an answer
  int idle_seconds = 60;     ///< between two requests
};

struct ServeOptions {
  std::string model, name, dtype = "keep";
  std::optional<at::Device> device;
  std::vector<at::Device> devices;  ///< that the model is divided among; empty: `device`
  std::string host = "127.0.0.1";
  int port = 8080;
  std::vector<std::string> api_keys;
  HttpLimits http;
  int64_t slots = 8;
  std::optional<int64_t> context;  ///< positions of a slot
  int64_t queue = 256;
  int64_t prompt_chunk = 512;
  int64_t prefix_bytes = 0;
  int request_seconds = 600;  ///< from its arrival to its last token
  int stop_seconds = 60;      ///< for running texts after SIGTERM
  bool quiet = false;
};

void add_options(CLI::App& app, ServeOptions& options);

}  // namespace serve
