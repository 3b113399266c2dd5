#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "libslice/checkpoint/output_form.h"
#include "libslice/method/plan.h"
#include "libslice/slicing/candidates.h"

namespace slice {

/// What slicing did at one site.
struct SiteReport {
  int64_t index = 0;
  std::string name;          ///< of the sublayer that reads it; "head" for the last
  int64_t hidden_size = 0;   ///< k
  double kept_variance = 1;  ///< share of the signal's variance that the k directions keep
  double seconds = 0;
  /// Of the sublayer before it, where it was trained: its error on the windows for choices as a
  /// share of the closed form's, on the text where that is largest; 1: the closed form was kept.
  std::optional<double> recovered = std::nullopt;
  /// Shares of the variance along single directions, largest first: at most kSpectrumPoints of
  /// `directions`, evenly spaced by rank, the first and the last among them. Of kSliceGpt these are
  /// all D principal directions, of kRefit the k kept ones. Empty where nothing was rotated, and of
  /// a site that an earlier run found.
  std::vector<double> spectrum = {};
  int64_t directions = 0;
};

inline constexpr int64_t kSpectrumPoints = 32;

/// A calibration text, and what slicing lost on it.
struct TextReport {
  std::string name;   ///< the file's; empty where the caller gave none
  double weight = 0;  ///< as asked for; 0: that of its windows
  int64_t windows = 0;
  int64_t held_out = 0;  ///< of them, windows that nothing but the two losses below depends on
  /// Mean negative log-likelihood of their tokens in nats, dense and sliced; absent where there are
  /// none.
  std::optional<double> held_out_before = std::nullopt, held_out_after = std::nullopt;
};

/// What the model writes after a prompt, before and after.
struct SampleReport {
  std::string prompt, before, after;
};

/// What `slice_model --verify` found: losses in nats a token on windows that are held out, of the
/// dense model and of the sliced one as it was loaded again.
struct VerifyReport {
  int64_t windows = 0;
  double loss_before = 0, loss_after = 0;
};

/// Tokens a second of reading a text and of writing one.
struct SpeedReport {
  double prefill = 0, decode = 0;
};

/// The most memory that a run had held when a phase of it ended.
struct PeakReport {
  std::string phase;  ///< "load", "gradients", "search", "slice", "save", …
  int64_t host_bytes = 0, device_bytes = 0;
};

/// What a run keeps to be resumed from after a kill, and what it resumed from.
struct ResumeReport {
  int64_t layers = 0;        ///< of the model, the embeddings and the head counted
  int64_t layers_found = 0;  ///< of them already on the disk when this run began
  int64_t signal_layer = 0;  ///< of the saved signal that it began with; 0: of the tokens
  /// Layers between two saves of the signal that its cost allows; 0: too few were measured.
  int64_t save_every = 0;
  int64_t saves = 0;       ///< of the signal
  double seconds = 0;      ///< that the saves took
  int64_t disk_bytes = 0;  ///< of bases and signals at most, beside the model
};

/// Everything worth knowing about a slicing run; `slice_report.json` has the same fields.
struct SliceReport {
  std::string family, dtype, device, method = "slicegpt", shortcut = "dense";
  std::string signal = "device";  ///< where it was kept: signal_place_name
  bool tf32 = false;           ///< its passes multiplied in TF32: refit of a float32 model on a GPU
  int64_t recover_epochs = 0;  ///< of training that were asked for; 0: nothing was trained
  std::string model;           ///< a name of it that the caller gives; may be empty
  std::string model_sha256;  ///< model_fingerprint() of the dense model, where the caller gives it
  SliceOptions asked;        ///< what the caller asked for
  int64_t hidden_size = 0, layers = 0;
  std::vector<int64_t> dense_ffn_sizes;                       ///< a layer
  std::vector<int64_t> stream_sizes, ffn_sizes, head_counts;  ///< k a site; F and heads a layer
  bool tied = false;                                          ///< the head is the embedding
  int64_t calibration_tokens = 0, calibration_sequences = 0, calibration_context = 0;
  int64_t chunk_tokens = 0;        ///< tokens that ran through a sublayer together, at the end
  std::string calibration_sha256;  ///< of the token ids as little-endian int64, row by row
  std::vector<TextReport> texts;   ///< in the order they were given
  std::vector<SiteReport> sites;
  std::vector<Candidate> candidates;  ///< of a search: the chosen one first, the others by loss
  uint64_t seed = 0;
  ParameterCount before, after;  ///< after: of the form that save_model writes
  int64_t weight_bytes = 0;      ///< of a stored weight; 0 where an adapter was sliced
  OutputForm form;  ///< what runs the result; without a model_type where an adapter was sliced
  std::optional<double> perplexity_before, perplexity_after;
  std::optional<SpeedReport> speed_before, speed_after;  ///< where they were measured
  std::vector<SampleReport> samples;
  double load_seconds = 0, search_seconds = 0, gradient_seconds = 0, calibrate_seconds = 0,
         eigen_seconds = 0, rewrite_seconds = 0, refit_seconds = 0, recover_seconds = 0,
         save_seconds = 0, total_seconds = 0;
  int64_t peak_host_bytes = 0, peak_device_bytes = 0;
  std::vector<PeakReport> peaks;  ///< in the order of the phases
  std::optional<ResumeReport> resume;
  std::optional<VerifyReport> verified;
  std::map<std::string, std::string> files;  ///< file_hashes() of the directory, from the caller
};

/// The JSON text of a report, as in slice_report.json: versions of libslice, LibTorch and CUDA too.
/// A list of numbers is one line. What is no UTF-8 in a name or text becomes U+FFFD.
std::string report_json(const SliceReport& report);

/// Writes it to a file, as write_output() does. @throws Error  check_output()'s; cannot write
void save_report(const SliceReport& report, const std::filesystem::path& path);

/// Version of a library that a report names; CUDA's is empty without it.
struct Versions {
  std::string libslice, libtorch, cuda;
};
Versions versions();

/// The most host memory that this process ever held resident, in bytes.
int64_t peak_host_bytes();

/// libslice's version, "major.minor.patch".
std::string version();

}  // namespace slice
