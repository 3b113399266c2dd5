#include "cli.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <new>

#include "last_words.h"
#include "libslice/base/error.h"
#include "libslice/base/warning.h"
#include "libslice/slicing/report.h"

namespace cli {
namespace {

const auto program_start = std::chrono::steady_clock::now();
constexpr char kInterrupted[] = "interrupted, nothing was written";
std::atomic<bool> interrupted{false};
std::string farewell;  // written by a signal that ends the program

void on_signal(int) { interrupted = true; }

void end_at_once(int) {
  const ssize_t ignored = ::write(STDERR_FILENO, farewell.data(), farewell.size());
  static_cast<void>(ignored);
  _exit(130);
}

void set_handler(void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

void watch_signals(const std::string& name) {
  farewell = name + ": " + kInterrupted + "\n";
  set_handler(end_at_once, 0);
  signal(SIGXFSZ, SIG_IGN);  // a file too long for the limit is an error like a full disk
}

const char* program_name = "";

}  // namespace

int run(CLI::App& app, int argc, char** argv, const std::function<void()>& body) {
  prepare_last_words(app.get_name().c_str());
  app.set_version_flag("--version", "libslice " + slice::version());
  watch_signals(app.get_name());
  static const std::string name = app.get_name();
  program_name = name.c_str();
  slice::set_warning_handler([](std::string_view text) { warn(std::string(text)); });
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
    end_bar();
    std::fprintf(stderr, "%s: %s\n", app.get_name().c_str(), stop.what());
    return 130;
  } catch (const CLI::ParseError& error) {
    end_bar();
    std::fprintf(stderr, "%s: %s\n", app.get_name().c_str(), error.what());
    return 2;
  } catch (const std::bad_alloc&) {
    say_last_words();
    return 1;
  } catch (const std::exception& error) {
    end_bar();
    const int length = static_cast<int>(std::strcspn(error.what(), "\n"));
    std::fprintf(stderr, "%s: %.*s\n", app.get_name().c_str(), length, error.what());
    return 1;
  }
}

void warn(const std::string& text) {
  const char* rank = std::getenv("WORLD_SIZE") != nullptr ? std::getenv("RANK") : nullptr;
  if (rank != nullptr && std::string(rank) != "0") return;
  end_bar();
  std::fprintf(stderr, "%s: warning: %s\n", program_name, text.c_str());
}

void unwind_when_interrupted() {
  set_handler(on_signal, static_cast<int>(SA_RESETHAND));  // a second Ctrl-C kills at once
}

void check_interrupted() {
  if (interrupted) throw slice::Interrupted(kInterrupted);
}

void add_window_options(CLI::App& app, slice::WindowOptions& options,
                        const std::string& count_name) {
  app.add_option("--context", options.context, "tokens per window")
      ->check(at_least(2))
      ->default_str("2048, or the model's context where that is shorter");
  app.add_option("--" + count_name, options.samples, "windows at most")->check(at_least(1));
  add_choice(app, "--order", options.order,
             {{"spread", slice::WindowOrder::kSpread}, {"first", slice::WindowOrder::kFirst}},
             "which windows: spread evenly over the text, or the first");
  app.add_option_function<std::string>(
         "--bos",
         [&options](const std::string& value) {
           if (value != "auto") options.bos = value == "yes";
         },
         "begin the text with the beginning-of-sequence token")
      ->check(CLI::IsMember({"auto", "yes", "no"}))
      ->default_str("auto");
}

void fit_context(const CLI::App& app, slice::WindowOptions& options,
                 const slice::ModelConfig& model) {
  const int64_t trained = std::max<int64_t>(2, std::min(model.context_length, model.positions()));
  if (app.count("--context") == 0) {
    options.context = std::min(options.context, trained);
    return;
  }
  if (options.context <= trained) return;
  const std::string asked = std::to_string(options.context), most = std::to_string(trained);
  if (options.context > model.positions())
    throw CLI::ValidationError("--context", "the model has " + most + " positions, got " + asked);
  warn("--context " + asked + " is longer than the " + most +
       " tokens that the model was trained for");
}

at::Tensor read_windows(const slice::Tokenizer& tokenizer, const std::string& path,
                        const slice::WindowOptions& options) {
  try {
    return slice::tokenize_file(tokenizer, path, options);  // (N, T)
  } catch (const slice::ArgumentError& error) {
    throw slice::ArgumentError(first_line(error.what()) + " (--context)");
  }
}

CLI::Validator at_least(double least) {
  char text[32];
  std::snprintf(text, sizeof text, "%.15g", least);
  return {[least, want = std::string(text)](std::string& value) {
            double number = least - 1;
            CLI::detail::lexical_cast(value, number);
            return number >= least ? "" : "want at least " + want + ", got " + value;
          },
          ""};
}

void add_threads_option(CLI::App& app) {
  app.add_option_function<int>(
         "--threads", [](int threads) { at::set_num_threads(threads); }, "CPU threads")
      ->check(CLI::PositiveNumber);
}

void add_gguf_type_option(CLI::App& app, std::string& type) {
  app.add_option("--gguf-type", type,
                 "matrices of the GGUF file; keep is the model's type, float16 where it is "
                 "quantised; of q8_0 those whose rows 32 does not divide are f16")
      ->check(CLI::IsMember({"keep", "f32", "f16", "bf16", "q8_0"}))
      ->capture_default_str();
}

std::optional<slice::GgufType> gguf_type_option(const std::string& text) {
  static const std::map<std::string, slice::GgufType> kTypes = {
      {"f32", slice::GgufType::kFloat32},   {"fp32", slice::GgufType::kFloat32},
      {"f16", slice::GgufType::kFloat16},   {"fp16", slice::GgufType::kFloat16},
      {"bf16", slice::GgufType::kBFloat16}, {"q8_0", slice::GgufType::kQ8_0}};
  const auto found = kTypes.find(text);
  if (found == kTypes.end()) return std::nullopt;
  return found->second;
}

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - program_start).count();
}

std::string duration(double seconds) {
  const auto whole = static_cast<int64_t>(std::min(seconds, 1e12) + 0.5);
  const auto unit = [](int64_t number, const char* name) {
    return std::to_string(number) + " " + name;
  };
  if (whole < 60) return unit(whole, "s");
  if (whole < 600) return unit(whole / 60, "min ") + unit(whole % 60, "s");
  if (whole < 3600) return unit((whole + 30) / 60, "min");
  if (whole < 86400) return unit(whole / 3600, "h ") + unit(whole % 3600 / 60, "min");
  return unit(whole / 86400, "days ") + unit(whole % 86400 / 3600, "h");
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
