#include "libslice/slicing/detail/resume_journal.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/file.h"
#include "libslice/base/detail/json.h"
#include "libslice/device/detail/memory.h"
#include "libslice/format/safetensors.h"
#include "libslice/slicing/detail/journal_file.h"

namespace slice::detail {

namespace fs = std::filesystem;
using at::Tensor;

namespace {

constexpr double kShare = 0.05;  // of the run's time: what saving signals may take
constexpr char kRun[] = "run.json", kUnfinished[] = ".tmp";

std::string basis_name(int64_t site) { return formatted("site.{}.basis", site); }
std::string numbers_name(int64_t site) { return formatted("site.{}.numbers", site); }
std::string hash_name(int64_t layer) { return formatted("layer.{}.sha256", layer); }

Tensor numbers_of(const FoundSite& site) {
  return at::tensor({site.kept_variance, site.seconds, static_cast<double>(site.chunk_tokens)},
                    at::kDouble);
}

FoundSite site_from(const SafetensorsFile& held, const std::string& name, const fs::path& path) {
  check_entry(held, name, {3}, path);
  const Tensor numbers = held.read(name).to(at::kDouble);
  const double* values = numbers.const_data_ptr<double>();
  SLICE_FORMAT_CHECK(values[2] >= 1 && values[2] < 0x1p53, "{}: {}: no chunk has {} tokens",
                     path.string(), name, values[2]);
  return {.basis = {},
          .kept_variance = values[0],
          .seconds = values[1],
          .chunk_tokens = static_cast<int64_t>(values[2])};
}

/// 7 of "layer-00007.safetensors".
std::optional<int64_t> layer_in(const std::string& file, const std::string& name) {
  return number_between(file, name + "-", ".safetensors");
}

}  // namespace

ResumeJournal::ResumeJournal(fs::path directory, Identity run, int64_t layers,
                             int64_t parts_a_layer, int64_t save_every)
    : directory_(std::move(directory)),
      run_(std::move(run)),
      parts_a_layer_(parts_a_layer),
      save_every_(save_every) {
  report_.layers = layers;
  std::error_code ignored;
  if (fs::exists(directory_ / kRun, ignored)) identify();
  const std::vector<int64_t> kept = list_files();
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

Signal ResumeJournal::restore(at::IntArrayRef shape, int64_t D, const at::TensorOptions& tensors,
                              SignalOptions options) const {
  const fs::path path = file("signal", signal_layer_);
  const SafetensorsFile held(path);
  check_entry(held, "signal", shape, path);
  const int64_t chunk = sites_.at(first_part() - 1).chunk_tokens;
  return Signal(
      {shape[0], shape[1], D}, tensors, shape[2], chunk,
      [&](int64_t begin, int64_t end) { return held.read("signal", begin, end); },
      std::move(options));
}

void ResumeJournal::found(int64_t site, FoundSite what) {
  numbers_[site] = numbers_of(what);
  fresh_[site] = std::move(what);
}

std::map<int64_t, FoundSite> ResumeJournal::take_found() { return std::exchange(fresh_, {}); }

/// Under a temporary name, sealed, synced, renamed. A signal goes first, as "signal".
void ResumeJournal::write(const fs::path& path,
                          const std::vector<std::pair<std::string, Tensor>>& tensors,
                          const Signal* signal) {
  const fs::path unfinished = path.string() + kUnfinished;
  std::error_code ignored;
  fs::remove(unfinished, ignored);
  try {
    std::vector<SafetensorsWriter::Slot> slots;
    if (signal != nullptr) {
      slots.push_back({"signal",
                       signal->dtype(),
                       {signal->windows(), signal->window_tokens(), signal->width()}});
    }
    for (const auto& [name, tensor] : tensors)
      slots.push_back({name, tensor.scalar_type(), tensor.sizes().vec()});
    slots.push_back(seal_slot());
    SafetensorsWriter writer(unfinished, std::move(slots));
    if (signal != nullptr) {
      writer.write("signal", signal->chunk_tokens() / signal->window_tokens(),
                   [&](int64_t begin, int64_t end) { return signal->rows(begin, end); });
    }
    for (const auto& [name, tensor] : tensors) writer.write(name, tensor);
    writer.write(seal_slot().name, unsealed());
    writer.finish();
    seal(unfinished);
  } catch (...) {
    fs::remove(unfinished, ignored);
    throw;
  }
  fs::rename(unfinished, path);
  sync_directory(directory_);
  count_disk();
}

void ResumeJournal::layer_done(int64_t layer, const std::map<int64_t, FoundSite>& found,
                               const std::string& hash, int64_t bytes, double seconds) {
  std::error_code ignored;
  if (!fs::exists(directory_ / kRun, ignored)) {
    nlohmann::ordered_json json;
    for (const auto& [name, value] : run_) json[name] = value;
    AtomicFile text(directory_ / kRun, /*replace=*/true);
    const std::string dump = json.dump(2) + "\n";
    text.out().write(dump.data(), dump.size());
    text.commit();
  }
  const Stopwatch clock;
  hashes_[layer] = hash;
  std::vector<std::pair<std::string, Tensor>> tensors = {{hash_name(layer), hash_tensor(hash)}};
  for (const auto& [site, what] : found) {
    bytes += static_cast<int64_t>(what.basis.nbytes());
    tensors.emplace_back(basis_name(site), what.basis);
    tensors.emplace_back(numbers_name(site), numbers_of(what));
  }
  write(file("layer", layer), tensors);
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

std::string ResumeJournal::save(int64_t part, const Signal& x, const Tensor& P) {
  const Charge charge(report_.seconds);
  const Stopwatch clock;
  const int64_t layer = layer_of(part);
  std::vector<std::pair<std::string, Tensor>> tensors = {{basis_name(part - 1), P}};
  for (const auto& [site, numbers] : numbers_)
    if (site < part) tensors.emplace_back(numbers_name(site), numbers);
  for (const auto& [before, hash] : hashes_)
    if (before < layer) tensors.emplace_back(hash_name(before), hash_tensor(hash));
  try {
    write(file("signal", layer), tensors, &x);
  } catch (const Error& error) {
    full_ = true;
    return error.what();
  } catch (const c10::Error& error) {
    if (!is_out_of_memory(error)) throw;
    full_ = true;
    return first_sentence(error);
  }
  bytes_per_second_ = static_cast<double>(x.bytes()) / clock.seconds();
  last_saved_layer_ = layer;
  last_layer_ = clock_.seconds();
  ++report_.saves;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory_)) {
    const std::string name = entry.path().filename().string();
    const auto older = layer_in(name, "layer");
    const auto signal_before = layer_in(name, "signal");
    if ((older && *older < layer) || (signal_before && *signal_before < layer))
      fs::remove(entry.path(), ignored);
  }
  return {};
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
