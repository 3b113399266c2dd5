#include "libslice/format/gguf.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/file.h"
#include "libslice/format/detail/dequantise.h"
#include "libslice/format/detail/gguf_values.h"

namespace slice {

namespace {

constexpr uint32_t kMostDimensions = 4;
constexpr uint64_t kLargestDimension = uint64_t{1} << 40;

/// One row of the tensor table. Its begin counts from the start of the data; end is begin + size.
std::pair<std::string, GgufFile::Entry> read_tensor_info(detail::GgufReader& in) {
  std::string name = in.text("tensor name");
  const std::string where = in.path() + ": " + name;
  const auto dimensions = in.number<uint32_t>(name);
  SLICE_FORMAT_CHECK(dimensions >= 1 && dimensions <= kMostDimensions,
                     "{}: want 1 … {} dimensions, got {}", where, kMostDimensions, dimensions);
  GgufFile::Entry entry{};
  uint64_t values = 1;
  for (uint32_t i = 0; i < dimensions; ++i) {
    const auto extent = in.number<uint64_t>(name);
    SLICE_FORMAT_CHECK(extent >= 1 && extent <= kLargestDimension &&
                           !__builtin_mul_overflow(values, extent, &values) &&
                           values <= uint64_t{1} << 60,
                       "{}: dimension {} of {} is empty or too large", where, i, extent);
    entry.shape.push_back(static_cast<int64_t>(extent));
  }
  entry.type = in.number<int32_t>(name);
  const detail::GgmlType& type = detail::ggml_type(entry.type, where);
  SLICE_FORMAT_CHECK(entry.shape[0] % type.block_size == 0,
                     "{}: a row of {} is not a multiple of {}'s block of {}", where, entry.shape[0],
                     type.name, type.block_size);
  std::reverse(entry.shape.begin(), entry.shape.end());
  entry.begin = in.number<uint64_t>(name);
  const uint64_t bytes =
      values / static_cast<uint64_t>(type.block_size) * static_cast<uint64_t>(type.block_bytes);
  SLICE_FORMAT_CHECK(!__builtin_add_overflow(entry.begin, bytes, &entry.end),
                     "{}: offset {} is outside the file", where, entry.begin);
  return {std::move(name), std::move(entry)};
}

/// Turns offsets in the data, which begin at `data`, into offsets in the file. Without tensors
/// `data` may lie past the file's end.
void place_tensors(std::map<std::string, GgufFile::Entry>& entries, uint64_t data,
                   uint64_t alignment, uint64_t size, const std::string& path) {
  std::vector<std::pair<uint64_t, std::string>> order;
  for (auto& [name, entry] : entries) {
    SLICE_FORMAT_CHECK(entry.begin % alignment == 0,
                       "{}: {}: offset {} is not a multiple of the alignment {}", path, name,
                       entry.begin, alignment);
    SLICE_FORMAT_CHECK(
        data <= size && entry.end <= size - data,
        "{}: {}: bytes {} … {} of the data, which begins at {}, are outside the file's {}", path,
        name, entry.begin, entry.end, data, size);
    entry.begin += data;
    entry.end += data;
    order.emplace_back(entry.begin, name);
  }
  std::sort(order.begin(), order.end());
  for (size_t i = 1; i < order.size(); ++i) {
    SLICE_FORMAT_CHECK(entries.at(order[i - 1].second).end <= order[i].first, "{}: {} overlaps {}",
                       path, order[i].second, order[i - 1].second);
  }
}

void check_version(detail::GgufReader& in) {
  constexpr char kMagic[4] = {'G', 'G', 'U', 'F'};
  const auto magic = in.number<std::array<char, 4>>("magic");
  SLICE_FORMAT_CHECK(std::equal(magic.begin(), magic.end(), kMagic), "{}: not a GGUF file",
                     in.path());
  const auto version = in.number<uint32_t>("version");
  SLICE_FORMAT_CHECK((version & 0xffff) != 0, "{}: a big-endian GGUF is not supported", in.path());
  SLICE_FORMAT_CHECK(version == 2 || version == 3,
                     "{}: GGUF version {} is not supported: want 2 or 3", in.path(), version);
}

}  // namespace

GgufFile::GgufFile(const std::filesystem::path& path)
    : file_(std::make_shared<detail::MappedFile>(path)) {
  detail::GgufReader in(file_->bytes(), path.string());
  check_version(in);
  const auto tensors = in.number<uint64_t>("tensor count");
  const auto pairs = in.number<uint64_t>("metadata count");
  for (uint64_t i = 0; i < pairs; ++i) {
    auto [key, value] = detail::read_gguf_pair(in);
    const auto [place, fresh] = metadata_.emplace(std::move(key), std::move(value));
    SLICE_FORMAT_CHECK(fresh, "{}: duplicate metadata key {}", in.path(), place->first);
  }
  for (uint64_t i = 0; i < tensors; ++i) {
    auto [name, entry] = read_tensor_info(in);
    const auto [place, fresh] = entries_.emplace(std::move(name), std::move(entry));
    SLICE_FORMAT_CHECK(fresh, "{}: duplicate tensor {}", in.path(), place->first);
  }
  const auto alignment = get<int64_t>("general.alignment", 32);
  SLICE_FORMAT_CHECK(alignment >= 8 && alignment <= int64_t{1} << 30 &&
                         std::has_single_bit(static_cast<uint64_t>(alignment)),
                     "{}: general.alignment: want a power of two of at least 8, got {}", in.path(),
                     alignment);
  const auto unit = static_cast<uint64_t>(alignment);
  place_tensors(entries_, (in.position() + unit - 1) / unit * unit, unit, file_->bytes().size(),
                in.path());
}

const std::filesystem::path& GgufFile::path() const { return file_->path(); }

at::Tensor GgufFile::read(const std::string& name) const {
  const auto found = entries_.find(name);
  SLICE_FORMAT_CHECK(found != entries_.end(), "{}: no tensor is called {}", path().string(), name);
  const Entry& entry = found->second;
  const detail::GgmlType& type = detail::ggml_type(entry.type, name);
  const std::byte* from = file_->bytes().data() + entry.begin;
  at::Tensor tensor = at::empty(entry.shape, type.dtype);
  if (type.dequantise == nullptr) {
    std::memcpy(tensor.mutable_data_ptr(), from, entry.end - entry.begin);
  } else {
    detail::dequantise(type, from, tensor.mutable_data_ptr<float>(),
                       tensor.numel() / type.block_size);
  }
  file_->forget(entry.begin, entry.end);
  return tensor;
}

bool GgufFile::quantised(int32_t type) {
  return detail::ggml_type(type, "GGUF").dequantise != nullptr;
}

at::ScalarType GgufFile::read_dtype(int32_t type) { return detail::ggml_type(type, "GGUF").dtype; }

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
  SLICE_FORMAT_CHECK(found != metadata_.end(), "{}: metadata key {} is missing", path().string(),
                     key);
  auto value = std::visit([](const auto& stored) { return convert<T>(stored); }, found->second);
  SLICE_FORMAT_CHECK(value, "{}: {}: want {}", path().string(), key, kWanted<T>);
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
