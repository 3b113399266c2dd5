#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/file.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/base/error.h"
#include "libslice/device/detail/memory.h"
#include "libslice/format/safetensors.h"
#include "libslice/slicing/detail/journal_file.h"
#include "libslice/slicing/detail/journal_names.h"
#include "libslice/slicing/detail/resume_journal.h"

namespace slice::detail {

namespace fs = std::filesystem;
using at::Tensor;

namespace {

constexpr double kShare = 0.05;  // of the run's time: what saving signals may take

Tensor numbers_of(const FoundSite& site) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  return at::tensor({site.kept_variance, site.seconds, static_cast<double>(site.chunk_tokens),
                     site.recovered.value_or(kNone)},
                    at::kDouble);
}

}  // namespace

void ResumeJournal::found(int64_t site, FoundSite what) {
  numbers_[site] = numbers_of(what);
  if (method_ == Method::kSliceGpt) fresh_[site] = std::move(what);
}

std::map<int64_t, FoundSite> ResumeJournal::take_found() { return std::exchange(fresh_, {}); }

/// Under a temporary name, sealed, synced, renamed. Signals go first.
void ResumeJournal::write(const fs::path& path, const Tensors& tensors, const Signals& signals) {
  const fs::path unfinished = path.string() + kUnfinished;
  std::error_code ignored;
  fs::remove(unfinished, ignored);
  try {
    std::vector<SafetensorsWriter::Slot> slots;
    for (const auto& [name, signal] : signals)
      slots.push_back(
          {name, signal->dtype(), {signal->windows(), signal->window_tokens(), signal->width()}});
    for (const auto& [name, tensor] : tensors)
      slots.push_back({name, tensor.scalar_type(), tensor.sizes().vec()});
    slots.push_back(seal_slot());
    SafetensorsWriter writer(unfinished, std::move(slots));
    for (const auto& [name, signal] : signals) {
      writer.write(name, signal->chunk_tokens() / signal->window_tokens(),
                   [&x = *signal](int64_t begin, int64_t end) { return x.rows(begin, end); });
    }
    for (const auto& [name, tensor] : tensors) writer.write(name, tensor);
    writer.write(seal_slot().name, unsealed());
    writer.finish();
    seal(unfinished);
  } catch (...) {
    fs::remove(unfinished, ignored);
    throw;
  }
  std::error_code error;
  fs::rename(unfinished, path, error);
  if (error) fs::remove(unfinished, ignored);
  SLICE_CHECK_AS(Error, !error, "{}: cannot rename {} to it: {}", path.string(),
                 unfinished.string(), error.message());
  sync_directory(directory_);
  count_disk();
}

std::string ResumeJournal::try_to_write(const fs::path& path, const Tensors& tensors,
                                        const Signals& signals) {
  try {
    write(path, tensors, signals);
  } catch (const Error& error) {
    return error.what();
  } catch (const c10::Error& error) {
    if (!is_out_of_memory(error)) throw;
    return first_sentence(error);
  }
  return {};
}

void ResumeJournal::write_identity() const {
  std::error_code ignored;
  if (fs::exists(directory_ / kRun, ignored)) return;
  nlohmann::ordered_json json;
  for (const auto& [name, value] : run_) json[name] = value;
  AtomicFile text(directory_ / kRun, /*replace=*/true);
  const std::string dump = json.dump(2) + "\n";
  text.out().write(dump.data(), dump.size());
  text.commit();
}

std::string ResumeJournal::keep_gammas(const std::vector<Tensor>& gammas) {
  const Charge charge(report_.seconds);
  write_identity();
  Tensors tensors;
  for (int64_t site = 0; site < std::ssize(gammas); ++site)
    tensors.emplace_back(gamma_name(site), gammas[site]);
  return try_to_write(directory_ / kGradients, tensors);
}

void ResumeJournal::layer_done(int64_t layer, const std::map<int64_t, FoundSite>& found,
                               const std::string& hash, int64_t bytes, double seconds) {
  write_identity();
  const Stopwatch clock;
  hashes_[layer] = hash;
  if (method_ == Method::kSliceGpt) {
    Tensors tensors = {{hash_name(layer), hash_tensor(hash)}};
    for (const auto& [site, what] : found) {
      bytes += static_cast<int64_t>(what.basis.nbytes());
      tensors.emplace_back(basis_name(site), what.basis);
      tensors.emplace_back(numbers_name(site), numbers_of(what));
    }
    write(file("layer", layer), tensors);
  }
  bytes_per_second_ = static_cast<double>(bytes) / (seconds + clock.seconds());
}

bool ResumeJournal::due(int64_t part, int64_t bytes) {
  const int64_t layer = layer_of(part);
  const double now = clock_.seconds();
  layer_seconds_ = now - last_layer_;
  last_layer_ = now;
  if (full_ || layer < layers_done_) return false;  // the next layers' bases are known
  if (save_every_ > 0) return layer - last_saved_layer_ >= save_every_;
  const double speed = bytes_per_second_;
  if (speed <= 0) return false;  // nothing was written yet
  const double expected = static_cast<double>(bytes) / speed;
  report_.save_every =
      static_cast<int64_t>(std::ceil(expected / (kShare * std::max(layer_seconds_, 1e-9))));
  return report_.seconds + expected <= kShare * now;
}

std::string ResumeJournal::save(int64_t part, const LoopState& state) {
  const Charge charge(report_.seconds);
  const Stopwatch clock;
  const int64_t layer = layer_of(part);
  Tensors tensors;
  for (const auto& [name, signal] : state.signals)
    tensors.emplace_back(chunk_name(name), at::full({1}, signal->chunk_tokens(), at::kLong));
  if (state.P.defined()) tensors.emplace_back(basis_name(part - 1), state.P);
  if (!state.numbers.empty())
    tensors.emplace_back(kNumbers, at::tensor(state.numbers, at::kDouble));
  for (const auto& [site, numbers] : numbers_)
    if (site < part) tensors.emplace_back(numbers_name(site), numbers);
  for (const auto& [before, hash] : hashes_)
    if (before < layer) tensors.emplace_back(hash_name(before), hash_tensor(hash));
  const std::string reason = try_to_write(file("signal", layer), tensors, state.signals);
  if (!reason.empty()) {
    full_ = true;
    return reason;
  }
  bytes_per_second_ = static_cast<double>(state.signal_bytes()) / clock.seconds();
  last_saved_layer_ = layer;
  last_layer_ = clock_.seconds();
  ++report_.saves;
  remove_needless(layer);
  return {};
}

/// What a signal before a layer stands for.
void ResumeJournal::remove_needless(int64_t layer) const {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory_)) {
    const std::string name = entry.path().filename().string();
    const auto older = layer_in(name, "layer"), signal_before = layer_in(name, "signal");
    if ((older && *older < layer) || (signal_before && *signal_before < layer))
      fs::remove(entry.path(), ignored);
  }
}

/// Most of what the directory held at once.
void ResumeJournal::count_disk() {
  int64_t bytes = 0;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory_, ignored)) {
    const auto size = entry.file_size(ignored);
    if (!ignored) bytes += static_cast<int64_t>(size);
  }
  int64_t most = disk_bytes_;
  while (bytes > most && !disk_bytes_.compare_exchange_weak(most, bytes)) {
  }
}

ResumeReport ResumeJournal::report() const {
  ResumeReport report = report_;
  if (save_every_ > 0) report.save_every = save_every_;
  report.disk_bytes = disk_bytes_;
  return report;
}

}  // namespace slice::detail
