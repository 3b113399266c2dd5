#include "libslice/device/detail/locked_memory.h"

#include <ATen/Parallel.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <new>

#include "libslice/device/detail/ops_cuda.h"

namespace slice::detail {

LockedMemory::LockedMemory(int64_t bytes, c10::Device device)
    : bytes_(std::max<int64_t>(bytes, 1)) {
  data_ = ::mmap(nullptr, static_cast<size_t>(bytes_), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data_ == MAP_FAILED) throw std::bad_alloc();
  if (!device.is_cuda()) return;
#ifdef MADV_HUGEPAGE
  ::madvise(data_, static_cast<size_t>(bytes_), MADV_HUGEPAGE);
#endif
  // Otherwise the driver touches the pages one by one, on one core.
  const int64_t page = ::sysconf(_SC_PAGESIZE);
  at::parallel_for(0, (bytes_ + page - 1) / page, (int64_t{64} << 20) / page,
                   [&](int64_t begin, int64_t end) {
                     for (int64_t i = begin; i < end; ++i)
                       static_cast<volatile char*>(data_)[i * page] = 0;
                   });
  locked_ = ops::on_device::lock_pages(data_, bytes_, device);
}

LockedMemory::~LockedMemory() {
  if (locked_) ops::on_device::unlock_pages(data_);
  ::munmap(data_, static_cast<size_t>(bytes_));
}

}  // namespace slice::detail
