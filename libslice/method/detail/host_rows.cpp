#include "libslice/method/detail/host_rows.h"

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <utility>

#include "libslice/device/detail/ops_cuda.h"

namespace slice::detail {

using at::Tensor;

namespace {

int64_t bytes_of(const std::vector<int64_t>& room, const at::TensorOptions& tensors) {
  return c10::multiply_integers(room) * static_cast<int64_t>(tensors.dtype().itemsize());
}

std::optional<c10::Stream> aside(at::Device device) {
  if (!device.is_cuda()) return std::nullopt;
  return c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device, false);
}

/// (n, T, width) to (n, T, width), both within (n, T, D).
void copy_rows(const Tensor& to, const Tensor& from, const std::optional<c10::Stream>& stream) {
  if (stream) {
    ops::on_device::copy_rows(to, from, *stream);
  } else {
    to.copy_(from);
  }
}

}  // namespace

HostRows::Mark::Mark(at::Device device) {
  if (device.is_cuda()) event.emplace(device.type());
}

void HostRows::Mark::record(const std::optional<c10::Stream>& stream) {
  if (event) event->record(*stream);
}

void HostRows::Mark::hold(const std::optional<c10::Stream>& stream) const {
  if (event) event->block(*stream);
}

HostRows::HostRows(const std::vector<int64_t>& room, const at::TensorOptions& tensors)
    : tensors_(tensors),
      room_(room),
      memory_(bytes_of(room, tensors), tensors.device()),
      host_(at::from_blob(memory_.data(), room, at::TensorOptions(tensors.dtype()))),
      in_(aside(tensors.device())),
      out_(aside(tensors.device())),
      buffers_{Buffer(tensors.device()), Buffer(tensors.device()), Buffer(tensors.device())},
      computed_(tensors.device()) {}

HostRows::~HostRows() { wait(); }

Tensor HostRows::read(int64_t begin, int64_t end, int64_t width) {
  const bool fetched =
      ahead_ != nullptr && ahead_->begin == begin && ahead_->end == end && ahead_->width == width;
  shown_ = nullptr;
  if (!fetched) copy_in(begin, end, width);
  shown_ = std::exchange(ahead_, nullptr);
  shown_->entered.hold(current());
  return shown_->rows.slice(0, 0, end - begin).slice(2, 0, width);
}

void HostRows::fetch(int64_t begin, int64_t end, int64_t width) {
  if (buffers_[0].rows.size(0) >= end - begin) copy_in(begin, end, width);
}

void HostRows::copy_in(int64_t begin, int64_t end, int64_t width) {
  make_buffers(end - begin);
  ahead_ = nullptr;
  Buffer& buffer = next();
  computed_.record(current());  // all that was computed with what the buffer held
  computed_.hold(in_);
  buffer.left.hold(in_);
  for (const Buffer& other : buffers_)  // rows that are being copied back must be there first
    if (other.leaving && other.begin < end && begin < other.end) other.left.hold(in_);
  buffer.begin = begin;
  buffer.end = end;
  buffer.width = width;
  buffer.leaving = false;
  copy_rows(buffer.rows.slice(0, 0, end - begin).slice(2, 0, width),
            host_.slice(0, begin, end).slice(2, 0, width), in_);
  buffer.entered.record(in_);
  ahead_ = &buffer;
}

void HostRows::write(int64_t begin, const Tensor& rows) {
  const int64_t end = begin + rows.size(0), width = rows.size(2);
  const bool shown = shown_ != nullptr && shown_->begin == begin && shown_->end == end;
  if (!shown) {
    make_buffers(end - begin);
    shown_ = &next();
    shown_->entered.hold(current());
    shown_->left.hold(current());
  }
  Buffer& buffer = *std::exchange(shown_, nullptr);
  const Tensor leaving = buffer.rows.slice(0, 0, end - begin).slice(2, 0, width);
  leaving.copy_(rows);
  computed_.record(current());
  computed_.hold(out_);
  copy_rows(host_.slice(0, begin, end).slice(2, 0, width), leaving, out_);
  buffer.left.record(out_);
  buffer.begin = begin;
  buffer.end = end;
  buffer.width = width;
  buffer.leaving = true;
}

/// A buffer that neither the last read nor the next one needs.
HostRows::Buffer& HostRows::next() {
  do {
    turn_ = (turn_ + 1) % buffers_.size();
  } while (&buffers_[turn_] == shown_ || &buffers_[turn_] == ahead_);
  return buffers_[turn_];
}

void HostRows::make_buffers(int64_t windows) {
  if (buffers_[0].rows.defined() && buffers_[0].rows.size(0) >= windows) return;
  release();
  std::array<Tensor, 3> rows;
  for (Tensor& some : rows) some = at::empty({windows, room_[1], room_[2]}, tensors_);
  for (size_t i = 0; i < rows.size(); ++i) buffers_[i].rows = rows[i];
}

void HostRows::release() {
  wait();
  shown_ = ahead_ = nullptr;
  for (Buffer& buffer : buffers_) {
    buffer.rows = Tensor();
    buffer.begin = buffer.end = 0;
    buffer.leaving = false;
  }
}

std::optional<c10::Stream> HostRows::current() const {
  const at::Device device = tensors_.device();
  if (!device.is_cuda()) return std::nullopt;
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
}

/// Waits for all copies; an error of the device comes again with the next call.
void HostRows::wait() {
  try {
    for (const auto& stream : {in_, out_})
      if (stream) c10::impl::VirtualGuardImpl(stream->device_type()).synchronizeStream(*stream);
  } catch (const c10::Error&) {
  }
}

}  // namespace slice::detail
