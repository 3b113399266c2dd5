#include "libslice/format/detail/gguf_values.h"

#include <limits>
#include <type_traits>
#include <variant>
#include <vector>

namespace slice::detail {
namespace {

using Kind = GgufKind;

constexpr uint64_t kLongestKey = 65535;

GgufFile::Value unsigned_value(uint64_t value) {
  if (std::in_range<int64_t>(value)) return static_cast<int64_t>(value);
  return value;
}

/// The fewest bytes that a value of this kind takes, which bounds an array's count; 0 for no kind.
uint64_t least_bytes(Kind kind) {
  switch (kind) {
    case Kind::kU8:
    case Kind::kI8:
    case Kind::kBool:
      return 1;
    case Kind::kU16:
    case Kind::kI16:
      return 2;
    case Kind::kU32:
    case Kind::kI32:
    case Kind::kF32:
      return 4;
    case Kind::kString:
    case Kind::kU64:
    case Kind::kI64:
    case Kind::kF64:
      return 8;
    default:
      return 0;
  }
}

GgufFile::Value read_scalar(GgufReader& in, Kind kind, const std::string& key) {
  switch (kind) {
    case Kind::kU8:
      return int64_t{in.number<uint8_t>(key)};
    case Kind::kI8:
      return int64_t{in.number<int8_t>(key)};
    case Kind::kU16:
      return int64_t{in.number<uint16_t>(key)};
    case Kind::kI16:
      return int64_t{in.number<int16_t>(key)};
    case Kind::kU32:
      return int64_t{in.number<uint32_t>(key)};
    case Kind::kI32:
      return int64_t{in.number<int32_t>(key)};
    case Kind::kU64:
      return unsigned_value(in.number<uint64_t>(key));
    case Kind::kI64:
      return in.number<int64_t>(key);
    case Kind::kF32:
      return double{in.number<float>(key)};
    case Kind::kF64:
      return in.number<double>(key);
    case Kind::kBool:
      return in.flag(key);
    case Kind::kString:
      return in.text(key);
    default:
      throw FormatError(detail::formatted("{}: {}: value type {} is unknown", in.path(), key,
                                          static_cast<uint32_t>(kind)));
  }
}

/// `count` values as a list of T; the caller has checked that the file is long enough.
template <typename T>
std::vector<T> read_list(GgufReader& in, Kind kind, uint64_t count, const std::string& key) {
  std::vector<T> list;
  list.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    std::visit(
        [&](auto&& value) {
          using From = std::decay_t<decltype(value)>;
          if constexpr (std::is_same_v<From, T> ||
                        (std::is_same_v<From, bool> && std::is_same_v<T, int64_t>)) {
            list.push_back(static_cast<T>(std::move(value)));
          } else {  // the kind decides the type, except that of a 64-bit number that is too large
            throw FormatError(
                detail::formatted("{}: {}[{}]: does not fit 63 bits", in.path(), key, i));
          }
        },
        read_scalar(in, kind, key));
  }
  return list;
}

GgufFile::Value read_array(GgufReader& in, const std::string& key) {
  const auto kind = static_cast<Kind>(in.number<uint32_t>(key));
  const auto count = in.number<uint64_t>(key);
  SLICE_FORMAT_CHECK(kind != Kind::kArray, "{}: {}: nested arrays are not supported", in.path(),
                     key);
  const uint64_t each = least_bytes(kind);
  SLICE_FORMAT_CHECK(each > 0, "{}: {}: value type {} is unknown", in.path(), key,
                     static_cast<uint32_t>(kind));
  SLICE_FORMAT_CHECK(count <= std::numeric_limits<uint64_t>::max() / each,
                     "{}: {}: {} values are too many", in.path(), key, count);
  in.need(count * each, key);
  if (kind == Kind::kString) return read_list<std::string>(in, kind, count, key);
  if (kind == Kind::kF32 || kind == Kind::kF64) return read_list<double>(in, kind, count, key);
  return read_list<int64_t>(in, kind, count, key);
}

}  // namespace

std::pair<std::string, GgufFile::Value> read_gguf_pair(GgufReader& in) {
  std::string key = in.text("metadata key");
  SLICE_FORMAT_CHECK(!key.empty() && key.size() <= kLongestKey, "{}: a metadata key of {} bytes",
                     in.path(), key.size());
  const auto kind = static_cast<Kind>(in.number<uint32_t>(key));
  GgufFile::Value value = kind == Kind::kArray ? read_array(in, key) : read_scalar(in, kind, key);
  return {std::move(key), std::move(value)};
}

}  // namespace slice::detail
