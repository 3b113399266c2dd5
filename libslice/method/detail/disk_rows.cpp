#include "libslice/method/detail/disk_rows.h"

#include <ATen/ATen.h>

#include <utility>

#include "libslice/base/detail/thread.h"

namespace slice::detail {

using at::Tensor;

namespace {

int64_t element_bytes(const at::TensorOptions& tensors) {
  return static_cast<int64_t>(tensors.dtype().itemsize());
}

Tensor packed(int64_t n, int64_t T, int64_t width, const at::TensorOptions& tensors) {
  return at::empty({n, T, width}, at::TensorOptions(tensors.dtype()));  // on the host
}

}  // namespace

DiskRows::DiskRows(const std::vector<int64_t>& room, const at::TensorOptions& tensors,
                   const std::filesystem::path& scratch)
    : room_(room),
      tensors_(tensors),
      file_(scratch, c10::multiply_integers(room) * element_bytes(tensors)) {}

Tensor DiskRows::read(int64_t begin, int64_t end, int64_t width) {
  const Span span{begin, end, width};
  const bool fetched = reading_.valid() && ahead_ == span;
  Tensor rows = reading_.valid() ? reading_.get() : Tensor();  // (n, T, width)
  if (!fetched) {
    if (writing_.valid() && leaving_.meets(span)) writing_.get();
    rows = load(span);
  }
  const Tensor chunk = at::empty({end - begin, room_[1], room_[2]}, tensors_);  // (n, T, D)
  return chunk.slice(2, 0, width).copy_(rows);
}

void DiskRows::fetch(int64_t begin, int64_t end, int64_t width) {
  if (reading_.valid()) reading_.get();
  const Span span{begin, end, width};
  if (writing_.valid() && leaving_.meets(span)) writing_.get();
  ahead_ = span;
  reading_ = run_aside([this, span] { return load(span); });
}

void DiskRows::write(int64_t begin, const Tensor& rows) {
  const Span span{begin, begin + rows.size(0), rows.size(2)};
  const Tensor leaving = packed(rows.size(0), room_[1], span.width, tensors_).copy_(rows);
  if (reading_.valid() && ahead_.meets(span)) reading_.get();  // overwritten: to be read again
  if (writing_.valid()) writing_.get();
  leaving_ = span;
  writing_ = run_aside([this, span, leaving] { store(span, leaving); });
}

Tensor DiskRows::load(const Span& span) const {
  const Tensor rows = packed(span.end - span.begin, room_[1], span.width, tensors_);
  auto* to = static_cast<char*>(rows.mutable_data_ptr());
  const int64_t bytes = window_bytes(span.width), room = window_bytes(room_[2]);
  for (int64_t window = span.begin; window < span.end; ++window, to += bytes)
    file_.read(to, bytes, window * room);
  return rows;
}

void DiskRows::store(const Span& span, const Tensor& rows) {
  const auto* from = static_cast<const char*>(rows.const_data_ptr());
  const int64_t bytes = window_bytes(span.width), room = window_bytes(room_[2]);
  for (int64_t window = span.begin; window < span.end; ++window, from += bytes)
    file_.write(from, bytes, window * room);
}

int64_t DiskRows::window_bytes(int64_t width) const {
  return room_[1] * width * element_bytes(tensors_);
}

}  // namespace slice::detail
