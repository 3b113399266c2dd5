#pragma once

#include <future>

#include "libslice/base/detail/scratch_file.h"
#include "libslice/method/detail/signal_rows.h"

namespace slice::detail {

/// Rows in a file: one thread reads the next chunk while this one is computed with, another writes
/// the last one.
class DiskRows final : public SignalRows {
 public:
  DiskRows(const std::vector<int64_t>& room, const at::TensorOptions& tensors,
           const std::filesystem::path& scratch);

  at::Tensor read(int64_t begin, int64_t end, int64_t width) override;
  void fetch(int64_t begin, int64_t end, int64_t width) override;
  void write(int64_t begin, const at::Tensor& rows) override;

 private:
  struct Span {
    int64_t begin = 0, end = 0, width = 0;
    bool operator==(const Span&) const = default;
    bool meets(const Span& other) const { return begin < other.end && other.begin < end; }
  };

  at::Tensor load(const Span& span) const;
  void store(const Span& span, const at::Tensor& rows);
  int64_t window_bytes(int64_t width) const;

  const std::vector<int64_t> room_;  // N, T, D
  const at::TensorOptions tensors_;
  ScratchFile file_;  // every window has room for width D; its rows are packed at the beginning
  Span ahead_, leaving_;
  std::future<at::Tensor> reading_;   // last, so destroyed first, which waits for their threads
  std::shared_future<void> writing_;  // shared, as every later call is to throw what it failed with
};

}  // namespace slice::detail
