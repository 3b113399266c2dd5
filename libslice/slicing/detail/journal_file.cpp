#include "libslice/slicing/detail/journal_file.h"

#include <ATen/ATen.h>

#include <charconv>
#include <cstring>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/file.h"
#include "libslice/base/detail/input_file.h"
#include "libslice/base/detail/sha256.h"
#include "libslice/base/detail/tensor_text.h"

namespace slice::detail {

namespace fs = std::filesystem;
using at::Tensor;

namespace {

constexpr char kSeal[] = "sha256";
constexpr size_t kHashBytes = 64;

std::string hash_of(const InputFile& file) {
  Sha256 hash;
  hash.add(file, 0, file.size() - kHashBytes);
  return hash.text();
}

}  // namespace

SafetensorsWriter::Slot seal_slot() { return {kSeal, at::kByte, {kHashBytes}}; }

Tensor unsealed() { return at::zeros({kHashBytes}, at::kByte); }

void seal(const fs::path& path) {
  const InputFile file(path);
  const std::string hash = hash_of(file);
  OutputFile out = OutputFile::reopen(path, file.size() - kHashBytes);
  out.write(hash.data(), hash.size());
  out.finish();
}

SafetensorsFile open_sealed(const fs::path& path) {
  SafetensorsFile held(path);
  const InputFile file(path);
  const auto entry = held.tensors().find(kSeal);
  SLICE_FORMAT_CHECK(entry != held.tensors().end() && entry->second.end == file.size() &&
                         hash_text(held, kSeal) == hash_of(file),
                     "{}: damaged: its SHA-256 is not the one it was written with; remove it, and "
                     "the run resumes from what comes before it",
                     path.string());
  return held;
}

void check_entry(const SafetensorsFile& file, const std::string& name, at::IntArrayRef shape,
                 const fs::path& path) {
  const auto found = file.tensors().find(name);
  SLICE_FORMAT_CHECK(found != file.tensors().end(), "{}: {} is missing", path.string(), name);
  SLICE_FORMAT_CHECK(at::IntArrayRef(found->second.shape) == shape, "{}: {}: want {}, got {}",
                     path.string(), name, describe(shape), describe(found->second.shape));
}

Tensor hash_tensor(const std::string& hash) {
  Tensor bytes = at::empty({static_cast<int64_t>(hash.size())}, at::kByte);
  std::memcpy(bytes.mutable_data_ptr(), hash.data(), hash.size());
  return bytes;
}

std::string hash_text(const SafetensorsFile& file, const std::string& name) {
  const Tensor bytes = file.read(name);
  return {static_cast<const char*>(bytes.const_data_ptr()), bytes.nbytes()};
}

std::optional<int64_t> number_between(std::string_view name, std::string_view before,
                                      std::string_view after) {
  if (name.size() <= before.size() + after.size() || !name.starts_with(before) ||
      !name.ends_with(after))
    return std::nullopt;
  name = name.substr(before.size(), name.size() - before.size() - after.size());
  int64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  const bool whole = error == std::errc() && end == name.data() + name.size();
  return whole && number >= 0 ? std::optional(number) : std::nullopt;
}

}  // namespace slice::detail
