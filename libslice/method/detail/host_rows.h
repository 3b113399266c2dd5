#pragma once

#include <c10/core/Event.h>

#include <array>
#include <optional>

#include "libslice/device/detail/locked_memory.h"
#include "libslice/method/detail/signal_rows.h"

namespace slice::detail {

/// Rows in page-locked memory of the host. Three buffers on the device are used in turn: while one
/// is computed with, the chunk before it is copied back from the second on one CUDA stream, and the
/// next one is copied into the third on another. Without a GPU the copies are synchronous.
class HostRows final : public SignalRows {
 public:
  HostRows(const std::vector<int64_t>& room, const at::TensorOptions& tensors);
  ~HostRows() override;

  at::Tensor read(int64_t begin, int64_t end, int64_t width) override;
  void fetch(int64_t begin, int64_t end, int64_t width) override;
  void write(int64_t begin, const at::Tensor& rows) override;
  void release() override;

 private:
  /// The end of some work of a CUDA stream, for another to wait for. Nothing without a GPU.
  struct Mark {
    explicit Mark(at::Device device);
    void record(const std::optional<c10::Stream>& stream);
    void hold(const std::optional<c10::Stream>& stream) const;
    std::optional<c10::Event> event;
  };
  struct Buffer {
    explicit Buffer(at::Device device) : entered(device), left(device) {}
    at::Tensor rows;             // (n, T, D)
    int64_t begin = 0, end = 0;  // windows that it holds
    int64_t width = 0;
    bool leaving = false;  // they are being copied back, or were
    Mark entered, left;
  };

  void make_buffers(int64_t windows);
  Buffer& next();
  void copy_in(int64_t begin, int64_t end, int64_t width);
  std::optional<c10::Stream> current() const;
  void wait();

  const at::TensorOptions tensors_;
  const std::vector<int64_t> room_;
  const LockedMemory memory_;
  const at::Tensor host_;  // (N, T, D), a view of it
  std::optional<c10::Stream> in_, out_;
  std::array<Buffer, 3> buffers_;
  Mark computed_;
  size_t turn_ = 0;
  Buffer* shown_ = nullptr;  // of the last read
  Buffer* ahead_ = nullptr;  // of the next one, fetched ahead
};

}  // namespace slice::detail
