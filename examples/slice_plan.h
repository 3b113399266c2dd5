#pragma once

// What slice_model knows before its work: flags, the headers of the model, the places to write to.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libslice/slice.h"
#include "slice_options.h"

namespace cli {

/// In place of a text's path: what the model writes itself.
inline constexpr const char* kSelf = "self";

/// slice_model's command line.
struct Arguments {
  std::string model, out, check, gguf, report, perplexity_text, dtype = "keep", gguf_type = "keep";
  std::optional<at::Device> device;
  std::vector<std::string> calibration, prompts;
  std::vector<double> calibration_weights;  ///< one a text; empty: every window counts the same
  SliceArguments slice;
  slice::WindowOptions windows{.samples = 128};
  int64_t perplexity_windows = 16;
  bool force = false, dry_run = false, json = false, quiet = false, layerwise = false;
  bool resume = false, no_report_html = false, verify = false;
  int64_t save_every = 0;
};

struct Plan {
  std::shared_ptr<const slice::Checkpoint> checkpoint;
  std::shared_ptr<const slice::Tokenizer> tokenizer;  ///< where something needs it
  slice::SliceOptions options;
  std::vector<slice::Candidate> candidates;  ///< of a budget
  /// What is written: of the plan, or of each candidate with its channels spread over the layers.
  std::vector<slice::ModelConfig> sliced;

  const slice::ModelConfig& dense() const { return checkpoint->config(); }
};

/// Reads headers and refuses what could not be sliced or written. Sets the context of
/// `arguments`. @param writes  whether this process writes the result
Plan make_plan(const CLI::App& app, Arguments& arguments, bool writes);

/// What is worth knowing before the work, on stderr: custom code, a quantised source, a result that
/// is larger than the model.
void print_notes(const Arguments& arguments, const Plan& plan);

/// The last part of the model's path: what a report calls it.
std::string model_name(const Arguments& arguments);

/// Which of the texts the model writes itself, if one.
std::optional<int64_t> self_number(const Arguments& arguments);

/// The calibration windows of all texts (N, T); says which texts were short. Those of the text
/// `self` are zeros, which the model writes once it is loaded.
slice::CalibrationWindows calibration_windows(const Arguments& arguments, const Plan& plan);

/// The id that a text which the model writes itself begins with.
int64_t self_begin(const slice::Tokenizer& tokenizer);

slice::LayerwiseOptions layerwise_options(const Arguments& arguments);

/// Bytes of a weight in the files that are written.
int64_t written_bytes(const Arguments& arguments, const Plan& plan);

/// Bytes stored, bytes that a token reads and FLOP that it takes, before and after, on stdout.
void print_sizes(const slice::ParameterCount& before, const slice::ParameterCount& after,
                 int64_t weight_bytes);

/// The held-out losses of the best stock plan and of the best of all, on stdout, where a search
/// tried both.
void print_price(const slice::SliceReport& report);

/// The plan or the candidates and their cost, on stdout: --dry-run.
void print_plan(const Arguments& arguments, const Plan& plan);

}  // namespace cli
