#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "libslice/base/detail/stopwatch.h"
#include "libslice/method/plan.h"
#include "libslice/method/signal.h"
#include "libslice/slicing/candidates.h"
#include "libslice/slicing/detail/slice_sublayers.h"
#include "libslice/slicing/report.h"

namespace slice::detail {

/// What a slicing loop found at a site.
struct FoundSite {
  at::Tensor basis;  ///< P (D, k) float64
  double kept_variance = 1, seconds = 0;
  int64_t chunk_tokens = 0;  ///< tokens of a chunk when it was found: they decide the last bits
  std::optional<double> recovered = std::nullopt;  ///< as SiteReport has it
};

/// What a killed slicing loop resumes from, in a directory of its own:
///
///   run.json                    the run's identity: a run with another one is refused
///   gradients.safetensors       kRefit: Γ of every site
///   plan.safetensors            of a budget: the candidates that a search tried
///   layer-00007.safetensors     kSliceGpt: the bases found in layer 7, and the hash of its weights,
///                               which are on the disk
///   signal-00005.safetensors    the signals before layer 5, the basis, what else the loop holds
///                               there, and the numbers and hashes of all sites and layers before
///                               it; files that it makes needless are removed
///
/// Layer 0 is the embeddings. Files are written under a temporary name, synced and renamed, so that
/// a kill leaves each of them whole or absent; each ends with its hash (journal_file.h), so that
/// one that was changed since is refused. Other files are left alone. A resumed loop begins at the
/// last signals, or at the tokens. The layers after it are run with the bases that were found; a
/// refit's, which hang on more than a basis, are sliced and written again.
class ResumeJournal {
 public:
  using Identity = std::vector<std::pair<std::string, std::string>>;  // name, value

  /// @param method      of the loop     @param run  all that the result depends on
  /// @param layers      of the model, the embeddings and the head counted
  /// @param save_every  layers between two saves of the signal; 0: as many as keep their cost below
  ///                    a twentieth of the time
  /// @throws Error  the directory holds the journal of another run
  /// @throws FormatError  a damaged one (names the file)
  ResumeJournal(std::filesystem::path directory, Method method, Identity run, int64_t layers,
                int64_t parts_a_layer, int64_t save_every);

  /// Where the loop begins: at the part before which the signal was saved; 0: with the tokens.
  int64_t first_part() const;
  /// Layers whose weights are on the disk, the embeddings counted.
  int64_t layers_done() const { return layers_done_; }
  /// SHA-256 of the weights of a layer that is done.
  const std::string& weights_hash(int64_t layer) const { return hashes_.at(layer); }
  bool knows(int64_t site) const { return sites_.contains(site); }
  /// Tokens of a chunk when a known site was found.
  int64_t chunk_tokens(int64_t site) const { return sites_.at(site).chunk_tokens; }
  /// The numbers of a known site; with its basis, (D, k), unless the saved signal lies after it.
  /// @throws FormatError  a basis of another shape
  FoundSite recall(int64_t site, at::IntArrayRef shape, at::Device device) const;
  /// A saved signal, (N, T, k), with room for D coordinates.
  /// @throws FormatError  none of this name and shape
  Signal restore(const std::string& name, at::IntArrayRef shape, int64_t D,
                 const at::TensorOptions& tensors, SignalOptions options) const;
  /// LoopState::numbers there. @throws FormatError  not `count` of them
  std::vector<double> numbers(int64_t count) const;
  /// How far the earlier run came, for a note; `part` is the name of the first part.
  std::string progress(const std::string& part) const;

  /// Γ of every site, (D, D) float64; empty where none were kept.
  /// @throws FormatError  damaged, or of another shape
  std::vector<at::Tensor> gammas(int64_t sites, int64_t D) const;
  /// Keeps them. @return  why they were not kept; empty when they were
  std::string keep_gammas(const std::vector<at::Tensor>& gammas);
  /// What a search found, the chosen one first; empty where none was kept.
  /// @throws FormatError  damaged
  std::vector<Candidate> candidates() const;
  /// Keeps them. @return  as keep_gammas
  std::string keep_candidates(const std::vector<Candidate>& tried);

  /// Called by the loop's thread: a site was found.
  void found(int64_t site, FoundSite what);
  /// The sites found since the last call, for layer_done.
  std::map<int64_t, FoundSite> take_found();
  /// Called once a layer's weights are written and synced: `bytes` of them, in `seconds`.
  /// @param hash  SHA-256 of them as they are on the disk
  void layer_done(int64_t layer, const std::map<int64_t, FoundSite>& found, const std::string& hash,
                  int64_t bytes, double seconds);

  /// Called by the loop's thread before a part: whether to save signals of so many bytes there.
  bool due(int64_t part, int64_t bytes);
  /// Saves the loop's state; every layer before is done. Where the disk has no room for it, none is
  /// saved from then on.
  /// @return  why it was not saved; empty when it was
  std::string save(int64_t part, const LoopState& state);

  ResumeReport report() const;

 private:
  int64_t layer_of(int64_t part) const;
  std::filesystem::path file(const std::string& name, int64_t layer) const;
  using Tensors = std::vector<std::pair<std::string, at::Tensor>>;
  using Signals = std::vector<std::pair<std::string, const Signal*>>;
  void write(const std::filesystem::path& path, const Tensors& tensors,
             const Signals& signals = {});
  /// The same; says why where there is no room.
  std::string try_to_write(const std::filesystem::path& path, const Tensors& tensors,
                           const Signals& signals = {});
  void identify();
  void write_identity() const;
  void remove_needless(int64_t layer) const;
  std::vector<int64_t> list_files();
  void read(const std::filesystem::path& path, int64_t place);
  void count_disk();

  std::filesystem::path directory_;
  Method method_;
  Identity run_;
  int64_t parts_a_layer_, save_every_;
  int64_t signal_layer_ = 0, layers_done_ = 0;
  std::map<int64_t, FoundSite> sites_;  // of an earlier run
  std::map<int64_t, int64_t> places_;  // site → layer whose file holds its basis; −1: the signal's
  std::map<int64_t, FoundSite> fresh_;     // of this run, since the last layer
  std::map<int64_t, at::Tensor> numbers_;  // of all sites, as they are saved
  std::map<int64_t, std::string> hashes_;  // of all layers' weights that are on the disk
  bool full_ = false;                      // no room for signals
  Stopwatch clock_;
  int64_t last_saved_layer_ = 0;
  double layer_seconds_ = 0, last_layer_ = 0;
  std::atomic<double> bytes_per_second_{0};
  std::atomic<int64_t> disk_bytes_{0};
  ResumeReport report_;
};

}  // namespace slice::detail
