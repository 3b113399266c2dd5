#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "libslice/base/detail/stopwatch.h"
#include "libslice/method/signal.h"
#include "libslice/slicing/report.h"

namespace slice::detail {

/// What the slicing loop found at a site.
struct FoundSite {
  at::Tensor basis;  ///< P (D, k) float64
  double kept_variance = 1, seconds = 0;
  int64_t chunk_tokens = 0;  ///< that passed together when it was found: they decide last bits
};

/// What lets a slicing loop that was killed go on, in a directory of its own:
///
///   run.json                    what run it is: another one is refused
///   layer-00007.safetensors     the bases found in layer 7, whose weights are on the disk
///   signal-00005.safetensors    the signal in front of layer 5, the basis it is in, numbers of all
///                               sites before; what it makes needless is removed
///
/// Layer 0 are the embeddings. Files are written under a temporary name, synced and renamed, so
/// that a kill leaves each of them whole or absent. A loop that goes on begins at the last signal,
/// or at the tokens, and passes the layers behind it with the bases they had.
class ResumeJournal {
 public:
  using Identity = std::vector<std::pair<std::string, std::string>>;  // name, value

  /// @param run  what the run's result depends on    @param layers  embeddings and head counted
  /// @param save_every  layers between two savings of the signal; 0: as many as keep their cost
  /// below a twentieth of the time
  /// @throws Error  the directory holds the record of another run; FormatError  a broken one
  ResumeJournal(std::filesystem::path directory, Identity run, int64_t layers,
                int64_t parts_a_layer, int64_t save_every);

  /// Where the loop begins: the part that the signal was saved in front of; 0: with the tokens.
  int64_t first_part() const;
  /// Layers whose weights are on the disk, the embeddings counted.
  int64_t layers_done() const { return layers_done_; }
  bool knows(int64_t site) const { return sites_.contains(site); }
  /// In what chunks the signal passed in front of a site that is known.
  int64_t chunk_tokens(int64_t site) const { return sites_.at(site).chunk_tokens; }
  /// Numbers of a site that is known; with the basis unless it lies behind the saved signal.
  FoundSite recall(int64_t site, at::Device device) const;
  /// The saved signal, in a stream that has room for D coordinates.
  Signal restore(int64_t D, const at::TensorOptions& tensors, SignalOptions options) const;

  /// The loop's thread: a site was found.
  void found(int64_t site, FoundSite what);
  /// What was found since the last call, for layer_done.
  std::map<int64_t, FoundSite> take_found();
  /// Whoever wrote a layer's weights and synced them: they are on the disk, `bytes` in `seconds`.
  void layer_done(int64_t layer, const std::map<int64_t, FoundSite>& found, int64_t bytes,
                  double seconds);

  /// The loop's thread, in front of a part: whether to save a signal of so many bytes there.
  bool due(int64_t part, int64_t bytes);
  /// Saves it, in basis P; every layer before is done. A disk that has no room for it is asked no
  /// more: the run goes on without signals.
  /// @return  why it was left out; empty when it was saved
  std::string save(int64_t part, const Signal& x, const at::Tensor& P);

  ResumeReport report() const;

 private:
  int64_t layer_of(int64_t part) const;
  std::filesystem::path file(const std::string& name, int64_t layer) const;
  void write(const std::filesystem::path& path,
             const std::vector<std::pair<std::string, at::Tensor>>& tensors,
             const Signal* signal = nullptr);
  void identify();
  void count_disk();

  std::filesystem::path directory_;
  Identity run_;
  int64_t parts_a_layer_, save_every_;
  int64_t signal_layer_ = 0, layers_done_ = 0;
  std::map<int64_t, FoundSite> sites_;  // of an earlier process
  std::map<int64_t, int64_t> places_;  // site → layer whose file holds its basis; −1: the signal's
  std::map<int64_t, FoundSite> fresh_;     // since the last layer; of this process
  std::map<int64_t, at::Tensor> numbers_;  // of all sites, as they are saved
  bool full_ = false;                      // no room for signals
  Stopwatch clock_;
  int64_t last_saved_layer_ = 0;
  double layer_seconds_ = 0, last_layer_ = 0;
  std::atomic<double> bytes_per_second_{0};
  std::atomic<int64_t> disk_bytes_{0};
  ResumeReport report_;
};

}  // namespace slice::detail
