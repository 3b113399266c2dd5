#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace slice {

/// Size of the largest shard, unless the caller asks for another.
inline constexpr int64_t kShardBytes = int64_t{5} << 30;

/// Writes tensors, one at a time, into safetensors files of at most `shard_bytes` each, or of one
/// tensor that is larger: `model.safetensors`, or `model-0000i-of-0000n.safetensors` with
/// `model.safetensors.index.json`.
class ShardWriter {
 public:
  struct Slot {
    std::string name;
    std::vector<int64_t> shape;
  };
  /// @param slots  all tensors, in the order in which `write` will be called; stored as `dtype`
  /// @throws ArgumentError  no tensors, a duplicate one, or a shard size that is not positive
  ShardWriter(std::filesystem::path directory, std::vector<Slot> slots, at::ScalarType dtype,
              int64_t shard_bytes = kShardBytes);
  ~ShardWriter();
  /// Writes the next tensor, any device, converted to the dtype; throws as SafetensorsWriter does.
  void write(const std::string& name, const at::Tensor& tensor);
  /// SHA-256, in hexadecimal, of tensors first … last − 1 as the files hold them.
  /// @throws FormatError  a file of them is missing     @throws Error  or too short
  std::string sha256(int64_t first, int64_t last) const;
  /// Resumes after the first `tensors` slots, which an earlier writer of the same slots wrote and
  /// synced; what it wrote after them is cut off. Before the first `write` only.
  /// @throws Error          their files are missing, short, or other ones
  /// @throws ArgumentError  more tensors than there are slots, or something was written already
  void resume_after(int64_t tensors);
  /// Returns when everything written is on the disk. @throws Error
  void sync();
  /// Closes the last shard and writes the index.
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace slice
