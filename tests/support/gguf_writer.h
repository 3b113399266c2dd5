#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace slice::tests {

/// Bytes of a GGUF file, put together value by value; what a test wants to be wrong, it sets.
class GgufWriter {
 public:
  // Value and tensor types of the specification.
  enum : uint32_t { kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kString = 8, kArray = 9, kU64 = 10 };
  enum : uint32_t { kTypeF32 = 0, kTypeF16 = 1, kTypeQ4_0 = 2, kTypeQ4_1 = 3, kTypeQ8_0 = 8 };

  std::string magic = "GGUF";
  uint32_t version = 3;
  uint64_t alignment = 32;     ///< of the data; not written by itself
  uint64_t extra_tensors = 0;  ///< counted and not there
  uint64_t extra_pairs = 0;

  /// A value of any type by its bytes.
  void raw(const std::string& key, uint32_t type, const std::string& value) {
    pairs_ += sized(key) + packed(type) + value;
    ++pair_count_;
  }
  template <typename T>
  void value(const std::string& key, uint32_t type, T number) {
    raw(key, type, packed(number));
  }
  void number(const std::string& key, uint32_t value) { raw(key, kU32, packed(value)); }
  void real(const std::string& key, float value) { raw(key, kF32, packed(value)); }
  void flag(const std::string& key, bool value) { raw(key, kBool, packed(uint8_t{value})); }
  void text(const std::string& key, const std::string& value) { raw(key, kString, sized(value)); }
  void texts(const std::string& key, const std::vector<std::string>& values) {
    std::string bytes = packed(uint32_t{kString}) + packed(uint64_t{values.size()});
    for (const std::string& entry : values) bytes += sized(entry);
    raw(key, kArray, bytes);
  }
  void numbers(const std::string& key, const std::vector<int32_t>& values) {
    array(key, kI32, values);
  }
  void reals(const std::string& key, const std::vector<float>& values) { array(key, kF32, values); }

  /// A tensor and its bytes, where the next one has to be. @param shape  outermost first
  void tensor(const std::string& name, const std::vector<int64_t>& shape, uint32_t type,
              const std::string& bytes) {
    tensor_at(name, shape, type, data_.size());
    data_ += bytes;
    data_.resize((data_.size() + alignment - 1) / alignment * alignment);
  }
  /// The table's row alone. @param offset  from the data's start
  void tensor_at(const std::string& name, const std::vector<int64_t>& shape, uint32_t type,
                 uint64_t offset) {
    infos_ += sized(name) + packed(static_cast<uint32_t>(shape.size()));
    for (auto extent = shape.rbegin(); extent != shape.rend(); ++extent) infos_ += packed(*extent);
    infos_ += packed(type) + packed(offset);
    ++tensor_count_;
  }

  std::string bytes() const {
    std::string file = magic + packed(version) + packed(tensor_count_ + extra_tensors) +
                       packed(pair_count_ + extra_pairs) + pairs_ + infos_;
    if (!data_.empty()) file.resize((file.size() + alignment - 1) / alignment * alignment);
    return file + data_;
  }

  template <typename T>
  static std::string packed(T number) {
    return {reinterpret_cast<const char*>(&number), sizeof(number)};
  }
  static std::string sized(const std::string& text) { return packed(uint64_t{text.size()}) + text; }

 private:
  template <typename T>
  void array(const std::string& key, uint32_t type, const std::vector<T>& values) {
    std::string bytes = packed(type) + packed(uint64_t{values.size()});
    for (const T entry : values) bytes += packed(entry);
    raw(key, kArray, bytes);
  }

  std::string pairs_, infos_, data_;
  uint64_t pair_count_ = 0, tensor_count_ = 0;
};

}  // namespace slice::tests
