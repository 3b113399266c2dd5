#include "libslice/slicing/report.h"

#include <sys/resource.h>
#include <torch/version.h>

#include "libslice/base/output_file.h"

namespace slice {

std::string version() { return LIBSLICE_VERSION; }

Versions versions() { return {version(), TORCH_VERSION, LIBSLICE_CUDA_VERSION}; }

int64_t peak_host_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<int64_t>(usage.ru_maxrss) * 1024;  // Linux counts in KiB
}

void save_report(const SliceReport& report, const std::filesystem::path& path) {
  write_output(path, report_json(report) + "\n");
}

}  // namespace slice
