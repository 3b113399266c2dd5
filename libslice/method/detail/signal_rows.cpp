#include "libslice/method/detail/signal_rows.h"

#include <ATen/ATen.h>

#include "libslice/method/detail/disk_rows.h"
#include "libslice/method/detail/host_rows.h"

namespace slice::detail {

using at::Tensor;

namespace {

/// On the device that computes, where a chunk is a view.
class DeviceRows final : public SignalRows {
 public:
  DeviceRows(const std::vector<int64_t>& room, const at::TensorOptions& tensors)
      : buffer_(at::empty(room, tensors)) {}

  Tensor read(int64_t begin, int64_t end, int64_t width) override {
    return buffer_.slice(0, begin, end).slice(2, 0, width);
  }
  void write(int64_t begin, const Tensor& rows) override {
    read(begin, begin + rows.size(0), rows.size(2)).copy_(rows);
  }

 private:
  Tensor buffer_;  // (N, T, D)
};

}  // namespace

std::unique_ptr<SignalRows> make_signal_rows(SignalPlace place, const std::vector<int64_t>& room,
                                             const at::TensorOptions& tensors,
                                             const std::filesystem::path& scratch) {
  switch (place) {
    case SignalPlace::kHost:
      return std::make_unique<HostRows>(room, tensors);
    case SignalPlace::kDisk:
      return std::make_unique<DiskRows>(room, tensors, scratch);
    default:
      return std::make_unique<DeviceRows>(room, tensors);
  }
}

}  // namespace slice::detail
