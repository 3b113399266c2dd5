#include "libslice/slicing/detail/resume_journal.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/file.h"
#include "libslice/base/detail/json.h"
#include "libslice/format/safetensors.h"
#include "libslice/slicing/detail/journal_file.h"
#include "libslice/slicing/detail/journal_names.h"

namespace slice::detail {

namespace fs = std::filesystem;
using at::Tensor;

namespace {

FoundSite site_from(const SafetensorsFile& held, const std::string& name, const fs::path& path) {
  check_entry(held, name, {4}, path);
  const Tensor numbers = held.read(name).to(at::kDouble);
  const double* values = numbers.const_data_ptr<double>();
  SLICE_FORMAT_CHECK(values[2] >= 1 && values[2] < 0x1p53, "{}: {}: no chunk has {} tokens",
                     path.string(), name, values[2]);
  return {.basis = {},
          .kept_variance = values[0],
          .seconds = values[1],
          .chunk_tokens = static_cast<int64_t>(values[2]),
          .recovered = std::isnan(values[3]) ? std::nullopt : std::optional(values[3])};
}

}  // namespace

ResumeJournal::ResumeJournal(fs::path directory, Method method, Identity run, int64_t layers,
                             int64_t parts_a_layer, int64_t save_every)
    : directory_(std::move(directory)),
      method_(method),
      run_(std::move(run)),
      parts_a_layer_(parts_a_layer),
      save_every_(save_every) {
  report_.layers = layers;
  std::error_code ignored;
  const bool named = fs::exists(directory_ / kRun, ignored);
  if (named) identify();
  const std::vector<int64_t> kept = list_files();
  SLICE_FORMAT_CHECK(named || (kept.empty() && signal_layer_ == 0),
                     "{}: {} is missing: whose run this was is not known", directory_.string(),
                     kRun);
  layers_done_ = signal_layer_;
  if (signal_layer_ > 0) read(file("signal", signal_layer_), -1);
  for (const int64_t layer : kept) {
    if (layer == layers_done_) {
      read(file("layer", layer), layer);
      ++layers_done_;
    } else if (layer > layers_done_) {  // after a gap: its weights will be written anew
      fs::remove(file("layer", layer), ignored);
    }
  }
  last_saved_layer_ = signal_layer_;
  report_.layers_found = layers_done_;
  report_.signal_layer = signal_layer_;
  count_disk();
}

/// Finds the last signal, and removes what was never finished.
/// @return  the layers that there are files of, in order
std::vector<int64_t> ResumeJournal::list_files() {
  std::error_code ignored;
  std::vector<int64_t> kept;
  for (const auto& entry : fs::directory_iterator(directory_)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(kUnfinished)) fs::remove(entry.path(), ignored);
    for (const char* kind : {"layer", "signal"}) {
      const auto layer = layer_in(name, kind);
      if (!layer || *layer >= report_.layers || entry.path() != file(kind, *layer)) continue;
      if (kind == std::string("layer")) kept.push_back(*layer);
      if (kind == std::string("signal")) signal_layer_ = std::max(signal_layer_, *layer);
    }
  }
  std::sort(kept.begin(), kept.end());
  return kept;
}

void ResumeJournal::read(const fs::path& path, int64_t place) {
  const SafetensorsFile held = open_sealed(path);
  for (const auto& [name, entry] : held.tensors()) {
    if (const auto layer = number_between(name, "layer.", ".sha256"))
      hashes_[*layer] = hash_text(held, name);
    const auto site = number_between(name, "site.", ".numbers");
    if (!site) continue;
    sites_[*site] = site_from(held, name, path);
    numbers_[*site] = held.read(name).to(at::kDouble);
    if (held.tensors().contains(basis_name(*site))) places_[*site] = place;
  }
  const int64_t end = place < 0 ? signal_layer_ : place + 1;
  for (int64_t layer = 0; layer < end; ++layer) {
    SLICE_FORMAT_CHECK(hashes_.contains(layer), "{}: {} is missing", path.string(),
                       hash_name(layer));
  }
}

/// Refuses the journal of another run.
void ResumeJournal::identify() {
  const std::string where = (directory_ / kRun).string();
  const auto held = parse_json(read_text_file(directory_ / kRun, size_t{1} << 24), where);
  for (const auto& [name, value] : run_) {
    const auto was = field<std::string>(held, name.c_str(), where);
    SLICE_CHECK_AS(Error, was == value,
                   "{}: the run to resume had another {}: {}, and this one has {}", where, name,
                   was, value);
  }
}

int64_t ResumeJournal::layer_of(int64_t part) const {
  return (part + parts_a_layer_ - 1) / parts_a_layer_;
}

int64_t ResumeJournal::first_part() const {
  return signal_layer_ == 0 ? 0 : (signal_layer_ - 1) * parts_a_layer_ + 1;
}

fs::path ResumeJournal::file(const std::string& name, int64_t layer) const {
  return directory_ / formatted("{}-{:05}.safetensors", name, layer);
}

bool LayerHooks::resumes() const { return journal != nullptr && journal->first_part() > 0; }

FoundSite ResumeJournal::recall(int64_t site, at::IntArrayRef shape, at::Device device) const {
  FoundSite found = sites_.at(site);
  const auto place = places_.find(site);
  if (place == places_.end()) return found;
  const fs::path path =
      place->second < 0 ? file("signal", signal_layer_) : file("layer", place->second);
  const SafetensorsFile held(path);
  check_entry(held, basis_name(site), shape, path);
  found.basis = held.read(basis_name(site)).to(device, at::kDouble);
  return found;
}

Signal ResumeJournal::restore(const std::string& name, at::IntArrayRef shape, int64_t D,
                              const at::TensorOptions& tensors, SignalOptions options) const {
  const fs::path path = file("signal", signal_layer_);
  const SafetensorsFile held(path);
  check_entry(held, name, shape, path);
  check_entry(held, chunk_name(name), {1}, path);
  const int64_t chunk = held.read(chunk_name(name)).to(at::kLong).item<int64_t>();
  return Signal(
      {shape[0], shape[1], D}, tensors, shape[2], chunk,
      [&](int64_t begin, int64_t end) { return held.read(name, begin, end); }, std::move(options));
}

std::vector<double> ResumeJournal::numbers(int64_t count) const {
  const fs::path path = file("signal", signal_layer_);
  const SafetensorsFile held(path);
  check_entry(held, kNumbers, {count}, path);
  const Tensor values = held.read(kNumbers).to(at::kDouble);
  return {values.const_data_ptr<double>(), values.const_data_ptr<double>() + count};
}

std::string ResumeJournal::progress(const std::string& part) const {
  return formatted("resuming: {} of {} layers are on the disk, the signal before {}",
                   report_.layers_found, report_.layers, part);
}

std::vector<Tensor> ResumeJournal::gammas(int64_t sites, int64_t D) const {
  const fs::path path = directory_ / kGradients;
  std::error_code ignored;
  std::vector<Tensor> gammas;
  if (!fs::exists(path, ignored)) return gammas;
  const SafetensorsFile held = open_sealed(path);
  for (int64_t site = 0; site < sites; ++site) {
    check_entry(held, gamma_name(site), {D, D}, path);
    gammas.push_back(held.read(gamma_name(site)).to(at::kDouble));
  }
  return gammas;
}

}  // namespace slice::detail
