#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/format/gguf.h"

namespace slice::detail {

static_assert(std::endian::native == std::endian::little, "GGUF numbers are copied byte by byte");

/// Value types, numbered as in the specification.
enum class GgufKind : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64
};

/// Reads the header from beginning to end, and never past the end of the file.
class GgufReader {
 public:
  GgufReader(std::span<const std::byte> bytes, std::string path)
      : bytes_(bytes), path_(std::move(path)) {}

  uint64_t position() const { return at_; }
  const std::string& path() const { return path_; }

  void need(uint64_t bytes, const std::string& what) const {
    SLICE_FORMAT_CHECK(bytes <= bytes_.size() - at_,
                       "{}: {}: want {} bytes at {}, the file ends at {}", path_, what, bytes, at_,
                       bytes_.size());
  }

  template <typename T>
  T number(const std::string& what) {
    need(sizeof(T), what);
    T value;
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }

  std::string text(const std::string& what) {
    const auto size = number<uint64_t>(what);
    need(size, what);
    std::string value(reinterpret_cast<const char*>(bytes_.data()) + at_, size);
    at_ += size;
    return value;
  }

  bool flag(const std::string& what) {
    const auto value = number<uint8_t>(what);
    SLICE_FORMAT_CHECK(value <= 1, "{}: {}: want a boolean, got {}", path_, what, value);
    return value == 1;
  }

 private:
  std::span<const std::byte> bytes_;
  std::string path_;
  uint64_t at_ = 0;
};

/// The next key and its value: a number, text, or a list of either.
/// @throws FormatError  a key that is empty or longer than 65535 bytes; an unknown value type;
///                      nested arrays; anything longer than the file
std::pair<std::string, GgufFile::Value> read_gguf_pair(GgufReader& in);

}  // namespace slice::detail
