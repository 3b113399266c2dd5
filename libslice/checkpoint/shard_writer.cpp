#include "libslice/checkpoint/shard_writer.h"

#include <c10/util/accumulate.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/file.h"
#include "libslice/base/detail/input_file.h"
#include "libslice/base/detail/sha256.h"
#include "libslice/format/safetensors.h"

namespace slice {

namespace fs = std::filesystem;
using at::Tensor;

struct ShardWriter::State {
  struct Shard {
    std::string file;
    std::vector<SafetensorsWriter::Slot> slots;
  };
  fs::path directory;
  std::vector<Shard> shards;
  size_t shard = 0, written = 0;  // written: tensors of the current shard
  bool resumes = false;           // files of an unfinished run may be in the directory
  uint64_t total_bytes = 0;
  std::optional<SafetensorsWriter> writer;
};

ShardWriter::ShardWriter(fs::path directory, std::vector<Slot> slots, at::ScalarType dtype,
                         int64_t shard_bytes)
    : state_(std::make_unique<State>()) {
  SLICE_ARGUMENT_CHECK(!slots.empty() && shard_bytes > 0,
                       "shards: want tensors and a size, got {} tensors and {} bytes", slots.size(),
                       shard_bytes);
  state_->directory = std::move(directory);
  std::set<std::string> names;
  int64_t filled = 0;  // bytes of the last shard
  for (const Slot& slot : slots) {
    SLICE_ARGUMENT_CHECK(names.insert(slot.name).second, "shards: duplicate tensor {}", slot.name);
    const int64_t bytes =
        c10::multiply_integers(slot.shape) * static_cast<int64_t>(c10::elementSize(dtype));
    if (state_->shards.empty() || (filled > 0 && filled + bytes > shard_bytes)) {
      state_->shards.emplace_back();
      filled = 0;
    }
    filled += bytes;
    state_->total_bytes += static_cast<uint64_t>(bytes);
    state_->shards.back().slots.push_back({slot.name, dtype, slot.shape});
  }
  const size_t count = state_->shards.size();
  for (size_t i = 0; i < count; ++i) {
    state_->shards[i].file =
        count == 1 ? "model.safetensors"
                   : detail::formatted("model-{:05}-of-{:05}.safetensors", i + 1, count);
  }
}

ShardWriter::~ShardWriter() = default;

void ShardWriter::write(const std::string& name, const Tensor& tensor) {
  State& s = *state_;
  SLICE_ARGUMENT_CHECK(s.shard < s.shards.size(), "shards: {} comes after the last tensor", name);
  State::Shard& shard = s.shards[s.shard];
  if (!s.writer) {
    std::error_code ignored;
    if (s.resumes) fs::remove(s.directory / shard.file, ignored);  // of the unfinished run
    s.writer.emplace(s.directory / shard.file, shard.slots);
  }
  s.writer->write(name, tensor);
  if (++s.written < shard.slots.size()) return;
  s.writer->finish();
  s.writer.reset();
  s.written = 0;
  ++s.shard;
}

void ShardWriter::resume_after(int64_t tensors) {
  State& s = *state_;
  SLICE_ARGUMENT_CHECK(s.shard == 0 && s.written == 0, "shards: some tensors are written already");
  s.resumes = true;
  for (; s.shard < s.shards.size(); ++s.shard) {
    const State::Shard& shard = s.shards[s.shard];
    const fs::path path = s.directory / shard.file;
    if (tensors < std::ssize(shard.slots)) break;
    tensors -= std::ssize(shard.slots);
    std::error_code error;
    const uint64_t want = SafetensorsWriter::bytes(shard.slots, shard.slots.size());
    const uint64_t got = fs::file_size(path, error);
    SLICE_CHECK_AS(Error, !error && got == want, "{}: want a shard of {} bytes, got {}",
                   path.string(), want, error ? error.message() : std::to_string(got));
  }
  if (tensors == 0) return;
  SLICE_ARGUMENT_CHECK(s.shard < s.shards.size(), "shards: {} tensors too many to resume after",
                       tensors);
  const State::Shard& shard = s.shards[s.shard];
  s.written = static_cast<size_t>(tensors);
  s.writer.emplace(s.directory / shard.file, shard.slots, s.written);
}

std::string ShardWriter::sha256(int64_t first, int64_t last) const {
  detail::Sha256 hash;
  int64_t begin = 0;  // of the shard
  for (const State::Shard& shard : state_->shards) {
    const int64_t count = std::ssize(shard.slots), end = begin + count;
    if (first < end && last > begin) {
      const auto place = [&](int64_t tensor) {
        const int64_t before = std::clamp<int64_t>(tensor - begin, 0, count);
        return SafetensorsWriter::bytes(shard.slots, static_cast<size_t>(before));
      };
      const detail::InputFile file(state_->directory / shard.file);
      SLICE_CHECK_AS(Error, place(last) <= file.size(), "{}: want at least {} bytes, got {}",
                     file.path().string(), place(last), file.size());
      hash.add(file, place(first), place(last));
    }
    begin = end;
  }
  return hash.text();
}

void ShardWriter::sync() {
  if (state_->writer) state_->writer->sync();
  detail::sync_directory(state_->directory);
}

void ShardWriter::finish() {
  const State& s = *state_;
  SLICE_CHECK_AS(Error, s.shard == s.shards.size(), "{}: not every tensor was written",
                 s.directory.string());
  if (s.shards.size() == 1) return;
  nlohmann::ordered_json index = {{"metadata", {{"total_size", s.total_bytes}}}};
  nlohmann::ordered_json map = nlohmann::ordered_json::object();
  // ordered_json compares a new key with all earlier ones, so entries go into its container.
  auto& entries = map.get_ref<nlohmann::ordered_json::object_t&>();
  for (const State::Shard& shard : s.shards) {
    for (const auto& slot : shard.slots) entries.Container::emplace_back(slot.name, shard.file);
  }
  index["weight_map"] = std::move(map);
  detail::write_file(s.directory / "model.safetensors.index.json", index.dump(2) + "\n");
}

}  // namespace slice
