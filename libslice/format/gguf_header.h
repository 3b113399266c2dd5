#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "libslice/format/detail/gguf_values.h"

namespace slice::detail {

/// Everything before the data of a GGUF v3 file, put together entry by entry.
///                                     (source: the GGUF specification in the ggml repository)
class GgufHeader {
 public:
  static constexpr uint64_t kAlignment = 32;  ///< of the data and of each tensor: the default

  void number(const std::string& key, uint32_t value) { pair(key, GgufKind::kU32, packed(value)); }
  void real(const std::string& key, float value) { pair(key, GgufKind::kF32, packed(value)); }
  void flag(const std::string& key, bool value) {
    pair(key, GgufKind::kBool, packed(static_cast<uint8_t>(value)));
  }
  void text(const std::string& key, const std::string& value) {
    pair(key, GgufKind::kString, sized(value));
  }
  void texts(const std::string& key, const std::vector<std::string>& values) {
    std::string bytes = packed(GgufKind::kString) + packed(uint64_t{values.size()});
    for (const std::string& value : values) bytes += sized(value);
    pair(key, GgufKind::kArray, bytes);
  }
  void numbers(const std::string& key, const std::vector<int32_t>& values) {
    array(key, GgufKind::kI32, values);
  }
  void flags(const std::string& key, const std::vector<bool>& values) {
    array(key, GgufKind::kBool, std::vector<uint8_t>(values.begin(), values.end()));
  }
  void reals(const std::string& key, const std::vector<float>& values) {
    array(key, GgufKind::kF32, values);
  }

  /// The next tensor of the data. @param shape  outermost first  @param bytes  without padding
  void tensor(const std::string& name, const std::vector<int64_t>& shape, int32_t type,
              uint64_t bytes) {
    infos_ += sized(name) + packed(static_cast<uint32_t>(shape.size()));
    for (auto extent = shape.rbegin(); extent != shape.rend(); ++extent) infos_ += packed(*extent);
    infos_ += packed(type) + packed(offset_);
    offset_ += bytes + padding(bytes);
    ++tensors_;
  }

  /// The header with its padding; the data follow it.
  std::string bytes() const {
    std::string all = "GGUF" + packed(uint32_t{3}) + packed(tensors_) + packed(pairs_) + metadata_;
    all += infos_;
    return all.append(padding(all.size()), '\0');
  }
  /// How many zeros follow a tensor of this many bytes.
  static uint64_t padding(uint64_t bytes) { return (kAlignment - bytes % kAlignment) % kAlignment; }

 private:
  template <typename T>
  static std::string packed(T value) {
    std::string bytes(sizeof value, '\0');
    std::memcpy(bytes.data(), &value, sizeof value);
    return bytes;
  }
  static std::string sized(const std::string& text) { return packed(uint64_t{text.size()}) + text; }

  void pair(const std::string& key, GgufKind kind, const std::string& bytes) {
    metadata_ += sized(key) + packed(kind) + bytes;
    ++pairs_;
  }
  template <typename T>
  void array(const std::string& key, GgufKind kind, const std::vector<T>& values) {
    std::string bytes = packed(kind) + packed(uint64_t{values.size()});
    for (const T value : values) bytes += packed(value);
    pair(key, GgufKind::kArray, bytes);
  }

  std::string metadata_, infos_;
  uint64_t pairs_ = 0, tensors_ = 0, offset_ = 0;
};

}  // namespace slice::detail
