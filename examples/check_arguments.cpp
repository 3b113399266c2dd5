#include "check_arguments.h"

#include <algorithm>
#include <string>

#include "libslice/slice.h"

namespace cli {
namespace {

/// Options that layer by layer excludes, or that need it.
void check_layerwise(const Arguments& a) {
  if (!a.layerwise && (a.resume || a.save_every > 0))
    throw CLI::ValidationError("--resume, --save-every", "want --layerwise");
  if (!a.layerwise) return;
  if (!a.gguf.empty() || !a.perplexity_text.empty() || !a.prompts.empty() || a.verify)
    throw CLI::ValidationError("--layerwise",
                               "excludes --gguf, --perplexity, --prompt and --verify");
  if (self_number(a))
    throw CLI::ValidationError("--layerwise",
                               "excludes --calibration self: a text is written by the whole model");
  const auto meeting = slice::rendezvous_from_environment();
  if (meeting && meeting->size > 1)
    throw CLI::ValidationError(
        "--layerwise", "runs in one process, WORLD_SIZE is " + std::to_string(meeting->size));
}

/// Twice the same text, its windows would be held out of one and fitted of the other.
void check_self(const Arguments& a) {
  if (std::ranges::count(a.calibration, kSelf) > 1)
    throw CLI::ValidationError("--calibration", "self is given more than once");
}

void check_weights(const Arguments& a) {
  if (a.calibration_weights.empty()) return;
  if (a.slice.options.method != slice::Method::kRefit)
    throw CLI::ValidationError("--calibration-weights", "--method slicegpt has none");
  if (a.calibration_weights.size() != a.calibration.size())
    throw CLI::ValidationError("--calibration-weights",
                               "want one a text: " + std::to_string(a.calibration.size()) +
                                   ", got " + std::to_string(a.calibration_weights.size()));
}

}  // namespace

void check_arguments(const Arguments& a) {
  check_layerwise(a);
  check_weights(a);
  check_self(a);
  if (std::ranges::count(a.prompts, "") > 0)
    throw CLI::ValidationError("--prompt", "want a text, got an empty one");
}

}  // namespace cli
