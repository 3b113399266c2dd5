#include "cli.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <map>
#include <new>

#include "last_words.h"
#include "libslice/base/error.h"
#include "libslice/base/warning.h"
#include "libslice/device/device.h"
#include "libslice/slicing/report.h"

namespace cli {
namespace {

const auto program_start = std::chrono::steady_clock::now();
std::atomic<bool> interrupted{false};

void on_signal(int) { interrupted = true; }

void watch_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND);  // a second Ctrl-C kills at once
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  signal(SIGXFSZ, SIG_IGN);  // a file too long for the limit is an error like a full disk
}

std::string duration(double seconds) {
  char text[32];
  const int whole = static_cast<int>(seconds + 0.5);
  std::snprintf(text, sizeof text, "%d:%02d", whole / 60, whole % 60);
  return text;
}

}  // namespace

std::string first_line(const char* message) {
  const std::string text = message;
  return text.substr(0, text.find('\n'));
}

int run(CLI::App& app, int argc, char** argv, const std::function<void()>& body) {
  prepare_last_words(app.get_name().c_str());
  app.set_version_flag("--version", "libslice " + slice::version());
  watch_signals();
  slice::set_warning_handler([&app](std::string_view text) {
    std::fprintf(stderr, "%s: warning: %.*s\n", app.get_name().c_str(), int(text.size()),
                 text.data());
  });
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  try {
    body();
    check_interrupted();
    return 0;
  } catch (const slice::Interrupted& stop) {
    std::fprintf(stderr, "%s: %s\n", app.get_name().c_str(), stop.what());
    return 130;
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "%s: %s\n", app.get_name().c_str(), error.what());
    return 2;
  } catch (const std::bad_alloc&) {
    say_last_words();
    return 1;
  } catch (const std::exception& error) {
    const int length = static_cast<int>(std::strcspn(error.what(), "\n"));
    std::fprintf(stderr, "%s: %.*s\n", app.get_name().c_str(), length, error.what());
    return 1;
  }
}

void check_interrupted() {
  if (interrupted) throw slice::Interrupted("interrupted, nothing was written");
}

slice::OnProgress progress(bool quiet) {
  const bool terminal = isatty(STDERR_FILENO) != 0;
  return [quiet, terminal, last = std::string()](const slice::Progress& p) mutable {
    check_interrupted();
    const std::string place =
        p.phase + " " + std::to_string(p.step) + "/" + std::to_string(p.steps);
    const bool finished = p.step == p.steps;
    if (quiet) return;
    if (!p.note.empty()) std::fprintf(stderr, "%s%s\n", terminal ? "\r\033[K" : "", p.note.c_str());
    if (place == last) return;
    if (!terminal && !finished && p.step % 10 != 0) return;
    last = place;
    std::string line = place;
    char number[64];
    if (p.kept_variance > 0) {
      std::snprintf(number, sizeof number, "  kept variance %.4f", p.kept_variance);
      line += number;
    }
    if (p.tokens_per_second > 0) {
      std::snprintf(number, sizeof number, "  %.0f tokens/s", p.tokens_per_second);
      line += number;
    }
    if (p.eta > 0) line += "  " + duration(p.eta) + " left";
    std::fprintf(stderr, terminal ? "\r\033[K%s%s" : "%s%s", line.c_str(),
                 terminal && !finished ? "" : "\n");
    std::fflush(stderr);
  };
}

void add_window_options(CLI::App& app, slice::WindowOptions& options,
                        const std::string& count_name) {
  app.add_option("--context", options.context, "tokens per window")->capture_default_str();
  app.add_option("--" + count_name, options.samples, "windows at most");
  app.add_option("--order", options.order,
                 "which windows: spread evenly over the text, or the first")
      ->transform(CLI::CheckedTransformer(std::map<std::string, slice::WindowOrder>{
          {"spread", slice::WindowOrder::kSpread}, {"first", slice::WindowOrder::kFirst}}));
  app.add_option_function<std::string>(
         "--bos",
         [&options](const std::string& value) {
           if (value != "auto") options.bos = value == "yes";
         },
         "begin the text with the beginning-of-sequence token")
      ->check(CLI::IsMember({"auto", "yes", "no"}))
      ->default_str("auto");
}

void add_device_option(CLI::App& app, std::optional<at::Device>& device) {
  const auto parse = [&device](const std::string& name) {
    try {
      device = slice::parse_device(name);
    } catch (const slice::DeviceError& error) {
      throw CLI::ValidationError("--device", error.what());
    }
  };
  app.add_option_function<std::string>("--device", parse,
                                       "auto (a GPU where there is one), cpu, cuda, cuda:1 …")
      ->default_str("auto");
}

void add_dtype_option(CLI::App& app, std::string& dtype, const std::string& help) {
  app.add_option("--dtype", dtype, help)
      ->check(CLI::IsMember({"keep", "bf16", "fp16", "fp32"}))
      ->capture_default_str();
}

slice::Model load(const std::string& path, std::optional<at::Device> device,
                  const std::string& dtype) {
  return slice::load_model(path,
                           {.device = slice::choose_device(device), .dtype = dtype_option(dtype)});
}

slice::ProcessGroup join_group(std::optional<at::Device>& device) {
  const auto meeting = slice::rendezvous_from_environment();
  if (!meeting || meeting->size == 1) return {};
  if (slice::choose_device(device).is_cuda() && !(device && device->has_index()))
    device = at::Device(at::kCUDA, static_cast<at::DeviceIndex>(meeting->local_rank));
  return slice::ProcessGroup(*meeting, slice::choose_device(device));
}

void add_threads_option(CLI::App& app) {
  app.add_option_function<int>(
         "--threads", [](int threads) { at::set_num_threads(threads); }, "CPU threads")
      ->check(CLI::PositiveNumber);
}

std::optional<at::ScalarType> dtype_option(const std::string& text) {
  static const std::map<std::string, at::ScalarType> kTypes = {
      {"fp32", at::kFloat}, {"fp16", at::kHalf}, {"bf16", at::kBFloat16}};
  const auto found = kTypes.find(text);
  if (found == kTypes.end()) return std::nullopt;
  return found->second;
}

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - program_start).count();
}

double measured_flop_per_second() {
  constexpr int64_t n = 768;
  const at::Tensor a = at::rand({n, n}), b = at::rand({n, n});
  at::Tensor c = at::mm(a, b);
  int products = 0;
  const double begin = seconds();
  do {
    at::mm_out(c, a, b);
    ++products;
  } while (seconds() - begin < 0.1);
  return 2.0 * n * n * n * products / (seconds() - begin);
}

std::string grouped(int64_t number) {
  std::string text = std::to_string(number);
  const size_t first = text[0] == '-' ? 1 : 0;
  for (size_t i = text.size(); i > first + 3; i -= 3) text.insert(i - 3, ",");
  return text;
}

}  // namespace cli
