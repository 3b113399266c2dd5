#pragma once

// Shared by the programs: exit codes, signals, progress on the terminal, common options.

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "examples/first_line.h"
#include "libslice/base/progress.h"
#include "libslice/checkpoint/gguf_write.h"
#include "libslice/checkpoint/model.h"
#include "libslice/decode/divided_model.h"
#include "libslice/decode/group_decoder.h"
#include "libslice/device/process_group.h"
#include "libslice/text/calibration.h"
#include "run_progress.h"

namespace cli {

/// Parses the command line and runs `body`. @return  the exit code: 0 done; 1 failed, a one-line
/// reason on stderr; 2 bad usage; 130 interrupted by SIGINT or SIGTERM.
int run(CLI::App& app, int argc, char** argv, const std::function<void()>& body);

/// From now on SIGINT and SIGTERM are heard where check_interrupted is called, so that what is on
/// the disk can be cleared up. Before that they end the program at once, in whatever reader it is,
/// with the same exit code.
void unwind_when_interrupted();

/// Throws slice::Interrupted after SIGINT or SIGTERM. Progress callbacks call it; long loops should
/// too.
void check_interrupted();

/// One line on stderr, "NAME: warning: …"; of a group of processes only the first one speaks.
void warn(const std::string& text);

/// A progress callback that checks for signals and, unless quiet, reports on stderr: a bar for all
/// phases together on a terminal, otherwise a line every ten seconds.
/// @param phases  of the run; empty: each phase has a bar of its own
slice::OnProgress progress(bool quiet, std::vector<Phase> phases = {});

/// Leaves a bar of progress as it is: what comes next on the terminal begins a line.
void end_bar();

/// What the options that name a text take.
inline constexpr char kTextHelp[] =
    "UTF-8, or records (text, messages, instruction and output, …) in .json or .jsonl; with .gz, "
    ".xz or .zst after the name compressed; - is stdin";

/// --context, --samples (called `count_name`), --order, --bos.
void add_window_options(CLI::App& app, slice::WindowOptions& options,
                        const std::string& count_name);

/// What --context means for a model: when it was not given, no more than the model's own context.
/// A longer one is refused where positions are learned, and warned of where they are rotary.
void fit_context(const CLI::App& app, slice::WindowOptions& options,
                 const slice::ModelConfig& model);

/// The windows of a text file, for --calibration or --perplexity; what it lacks is said in terms of
/// --context.
at::Tensor read_windows(const slice::Tokenizer& tokenizer, const std::string& path,
                        const slice::WindowOptions& options);

/// A number of at least so much.
CLI::Validator at_least(double least);

/// An option with a few values, called by these names.
template <typename T>
CLI::Option* add_choice(CLI::App& app, const std::string& flag, T& variable,
                        const std::vector<std::pair<std::string, T>>& values,
                        const std::string& help) {
  std::string names;
  for (const auto& [name, value] : values) names += (names.empty() ? "" : "|") + name;
  const auto set = [&variable, values, names, flag](const std::string& text) {
    for (const auto& [name, value] : values) {
      if (name != text) continue;
      variable = value;
      return;
    }
    throw CLI::ValidationError(flag, "want " + names + ", got " + text);
  };
  return app.add_option_function<std::string>(flag, set, help)->type_name(names);
}

/// --device, for slice::choose_device; nothing for "auto".
void add_device_option(CLI::App& app, std::optional<at::Device>& device);

/// --devices: GPUs of this host that a model is divided among, none unless given; excludes --device.
void add_devices_option(CLI::App& app, std::vector<at::Device>& devices);

/// A model divided among these GPUs, or among the processes of a group; nothing where there are
/// neither. dtype "keep": the type that the weights are stored in.
std::optional<slice::DividedModel> load_divided(const std::string& path,
                                                const std::vector<at::Device>& devices,
                                                const slice::ProcessGroup& group,
                                                std::optional<at::Device> device,
                                                const std::string& dtype);

/// How the processes of a group divide a model.
enum class Division {
  kCaptured,  ///< as load_divided does: GPUs of one host
  kTensor,    ///< slice::TensorParallel, on any number of hosts
  kPipeline   ///< slice::Pipeline, on any number of hosts
};

/// --parallel. @param otherwise  what the processes do without it
void add_parallel_option(CLI::App& app, std::optional<Division>& division, const char* otherwise);

/// What a group divides a model by: by what --parallel says, else captured on GPUs, tensor on the
/// CPU; nothing of a process alone.
std::optional<Division> division_of(std::optional<Division> asked, const slice::ProcessGroup& group,
                                    std::optional<at::Device> device);

/// This process's part of a model that is divided so, kTensor or kPipeline.
std::unique_ptr<slice::GroupDecoder> load_part(const std::string& path, Division division,
                                               const slice::ProcessGroup& group,
                                               const slice::GroupDecoderOptions& options);

/// The processes that torchrun, or another launcher with its variables, started together with this
/// one. A GPU without an index becomes the one of this process, as does "auto" where there are
/// GPUs.
slice::ProcessGroup join_group(std::optional<at::Device>& device);

/// --dtype of programs that only read a model: the type of its weights in memory.
void add_dtype_option(CLI::App& app, std::string& dtype, const std::string& help);

/// The model of the command line, on its device and in its dtype.
slice::Model load(const std::string& path, std::optional<at::Device> device,
                  const std::string& dtype);

/// --threads.
void add_threads_option(CLI::App& app);

/// The type of "bf16", "fp16" or "fp32"; nothing for "keep".
std::optional<at::ScalarType> dtype_option(const std::string& text);

/// --gguf-type: how the matrices of a GGUF file are stored.
void add_gguf_type_option(CLI::App& app, std::string& type);

/// The type of "f32", "f16", "bf16" or "q8_0", or of a --dtype; nothing for "keep".
std::optional<slice::GgufType> gguf_type_option(const std::string& text);

/// 4983 → "1 h 23 min"
std::string duration(double seconds);

/// Seconds since the program started.
double seconds();

/// FLOP per second of this machine's CPUs in float32 matrix products, measured for 0.1 s.
double measured_flop_per_second();

/// 134515008 → "134,515,008"
std::string grouped(int64_t number);

}  // namespace cli
