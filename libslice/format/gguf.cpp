#include "libslice/format/gguf.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <optional>
#include <type_traits>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/input_file.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/format/detail/dequantise.h"
#include "libslice/format/detail/gguf_part.h"

namespace slice {

namespace {
constexpr uint64_t kPieceBytes = uint64_t{16} << 20;  // of a quantised tensor, read at a time
}

GgufFile::GgufFile(const std::filesystem::path& path) {
  std::vector<detail::GgufPart> parts;
  parts.push_back(detail::read_gguf_part(path));
  const int64_t count = parts.front().number("split.count").value_or(1);
  if (count > 1) parts = detail::read_gguf_split(std::move(parts.front()), count);
  path_ = path;
  metadata_ = std::move(parts.front().metadata);
  for (detail::GgufPart& part : parts) {
    for (auto& [name, entry] : part.entries) {
      entry.part = files_.size();
      SLICE_FORMAT_CHECK(entries_.emplace(name, std::move(entry)).second,
                         "{}: {} is in another file of this split model too",
                         part.file->path().string(), name);
    }
    files_.push_back(std::move(part.file));
  }
}

std::vector<std::filesystem::path> GgufFile::files() const {
  std::vector<std::filesystem::path> paths;
  for (const auto& file : files_) paths.push_back(file->path());
  return paths;
}

const GgufFile::Entry& GgufFile::entry(const std::string& name) const {
  const auto found = entries_.find(name);
  SLICE_FORMAT_CHECK(found != entries_.end(), "{}: no tensor is called {}", path_.string(), name);
  return found->second;
}

at::Tensor GgufFile::copied(const std::string& name, uint64_t first, uint64_t last,
                            at::IntArrayRef shape) const {
  const Entry& from = entry(name);
  const detail::InputFile& file = *files_[from.part];
  const detail::GgmlType& type = detail::ggml_type(from.type, name);
  at::Tensor tensor = at::empty(shape, type.dtype);
  if (type.dequantise == nullptr) {
    file.read(tensor.mutable_data_ptr(), first, last);
    return tensor;
  }
  const auto block = static_cast<uint64_t>(type.block_bytes);
  const uint64_t piece = std::max<uint64_t>(kPieceBytes / block, 1) * block;
  std::vector<std::byte> bytes(std::min(piece, last - first));
  for (float* to = tensor.mutable_data_ptr<float>(); first < last; first += bytes.size()) {
    bytes.resize(std::min(piece, last - first));
    file.read(bytes.data(), first, first + bytes.size());
    const auto blocks = static_cast<int64_t>(bytes.size() / block);
    detail::dequantise(type, bytes.data(), to, blocks);
    to += blocks * type.block_size;
  }
  return tensor;
}

at::Tensor GgufFile::read(const std::string& name) const {
  const Entry& from = entry(name);
  return copied(name, from.begin, from.end, from.shape);
}

at::Tensor GgufFile::read(const std::string& name, int64_t begin, int64_t end) const {
  const Entry& from = entry(name);
  const int64_t rows = from.shape[0];
  SLICE_ARGUMENT_CHECK(from.shape.size() > 1 && 0 <= begin && begin <= end && end <= rows,
                       "{}: {}: want a matrix of at least {} rows, got {}", path_.string(), name,
                       end, detail::describe(from.shape));
  std::vector<int64_t> shape = from.shape;
  shape[0] = end - begin;
  const uint64_t row = (from.end - from.begin) / static_cast<uint64_t>(rows);
  return copied(name, from.begin + row * static_cast<uint64_t>(begin),
                from.begin + row * static_cast<uint64_t>(end), shape);
}

bool GgufFile::quantised(int32_t type) {
  return detail::ggml_type(type, "GGUF").dequantise != nullptr;
}

at::ScalarType GgufFile::read_dtype(int32_t type) { return detail::ggml_type(type, "GGUF").dtype; }

std::string GgufFile::type_name(int32_t type) { return detail::ggml_type(type, "GGUF").name; }

namespace {

template <typename T>
struct IsList : std::false_type {};
template <typename T>
struct IsList<std::vector<T>> : std::true_type {};

/// A stored value as another type; nothing where that would change it.
template <typename To, typename From>
std::optional<To> convert(const From& from) {
  if constexpr (std::is_same_v<To, From>) {
    return from;
  } else if constexpr (std::is_same_v<To, double> && std::is_integral_v<From> &&
                       !std::is_same_v<From, bool>) {
    return static_cast<double>(from);
  } else if constexpr (IsList<To>::value && IsList<From>::value) {
    if (from.empty()) return To{};  // an empty array is a list of anything
    if constexpr (std::is_same_v<To, std::vector<double>> &&
                  std::is_same_v<From, std::vector<int64_t>>) {
      return To(from.begin(), from.end());
    }
  }
  return std::nullopt;
}

template <typename T>
constexpr const char* kWanted = "a list";
template <>
constexpr const char* kWanted<bool> = "a boolean";
template <>
constexpr const char* kWanted<int64_t> = "an integer";
template <>
constexpr const char* kWanted<double> = "a number";
template <>
constexpr const char* kWanted<std::string> = "a string";
template <>
constexpr const char* kWanted<std::vector<std::string>> = "a list of strings";
template <>
constexpr const char* kWanted<std::vector<int64_t>> = "a list of integers";
template <>
constexpr const char* kWanted<std::vector<double>> = "a list of numbers";

}  // namespace

template <typename T>
T GgufFile::get(const std::string& key) const {
  const auto found = metadata_.find(key);
  SLICE_FORMAT_CHECK(found != metadata_.end(), "{}: metadata key {} is missing", path_.string(),
                     key);
  auto value = std::visit([](const auto& stored) { return convert<T>(stored); }, found->second);
  SLICE_FORMAT_CHECK(value, "{}: {}: want {}", path_.string(), key, kWanted<T>);
  return *std::move(value);
}

template bool GgufFile::get(const std::string&) const;
template int64_t GgufFile::get(const std::string&) const;
template double GgufFile::get(const std::string&) const;
template std::string GgufFile::get(const std::string&) const;
template std::vector<std::string> GgufFile::get(const std::string&) const;
template std::vector<int64_t> GgufFile::get(const std::string&) const;
template std::vector<double> GgufFile::get(const std::string&) const;

}  // namespace slice
