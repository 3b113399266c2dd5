#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/input_file.h"
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
  explicit GgufReader(const InputFile& file) : file_(file), path_(file.path().string()) {}

  uint64_t position() const { return at_; }
  const std::string& path() const { return path_; }

  void need(uint64_t bytes, const std::string& what) const {
    SLICE_FORMAT_CHECK(bytes <= file_.size() - at_,
                       "{}: {}: want {} bytes at {}, the file ends at {}", path_, what, bytes, at_,
                       file_.size());
  }

  template <typename T>
  T number(const std::string& what) {
    need(sizeof(T), what);
    T value;
    copy(&value, sizeof value);
    return value;
  }

  std::string text(const std::string& what) {
    const auto size = number<uint64_t>(what);
    need(size, what);
    std::string value(size, '\0');
    copy(value.data(), size);
    return value;
  }

  bool flag(const std::string& what) {
    const auto value = number<uint8_t>(what);
    SLICE_FORMAT_CHECK(value <= 1, "{}: {}: want a boolean, got {}", path_, what, value);
    return value == 1;
  }

 private:
  /// The next bytes, of which there are so many; long ones past the window.
  void copy(void* to, uint64_t size) {
    if (at_ < begin_ || at_ + size > begin_ + window_.size()) {
      if (size > kWindow) {
        file_.read(to, at_, at_ + size);
        at_ += size;
        return;
      }
      begin_ = at_;
      window_ = file_.text(at_, std::min(at_ + kWindow, file_.size()));
    }
    std::memcpy(to, window_.data() + (at_ - begin_), size);
    at_ += size;
  }

  static constexpr uint64_t kWindow = uint64_t{64} << 10;
  const InputFile& file_;
  std::string path_, window_;
  uint64_t at_ = 0, begin_ = 0;  ///< in the file: of the next byte, of the window
};

/// The next key and its value: a number, text, or a list of either.
/// @throws FormatError  a key that is empty or longer than 65535 bytes; an unknown value type;
///                      nested arrays; anything longer than the file
std::pair<std::string, GgufFile::Value> read_gguf_pair(GgufReader& in);

}  // namespace slice::detail
