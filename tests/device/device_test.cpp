#include "libslice/device/device.h"

#include <ATen/ATen.h>

#include <atomic>
#include <catch2/catch_all.hpp>
#include <thread>
#include <vector>

#include "libslice/base/error.h"
#include "libslice/device/detail/tf32.h"
#include "tests/support/matchers.h"

namespace slice {
namespace {

using namespace tests;

TEST_CASE("names of devices are understood") {
  CHECK(parse_device("auto") == std::nullopt);
  CHECK(parse_device("cpu") == at::Device(at::kCPU));
  CHECK(parse_device("cuda") == at::Device(at::kCUDA));
  CHECK(parse_device("cuda:0") == at::Device(at::kCUDA, 0));
  CHECK(parse_device("cuda:12") == at::Device(at::kCUDA, 12));
  for (const char* name : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:100000000000", "cuda0",
                           "CPU", "cuda:0 ", "meta"}) {
    CHECK_THROWS_NAMING(parse_device(name), DeviceError, "want auto, cpu, cuda");
  }
}

TEST_CASE("a chosen GPU has an index, and is the default where there is one") {
  CHECK(choose_device(at::kCPU) == at::Device(at::kCPU));
  CHECK(choose_device(at::Device(at::kCPU, 0)) == at::Device(at::kCPU));
  if (at::hasCUDA() && at::getNumGPUs() > 0) {
    const at::Device first(at::kCUDA, 0);
    CHECK(choose_device() == first);
    CHECK(choose_device(at::kCUDA) == first);
    CHECK(choose_device(first) == first);
  } else {
    CHECK(choose_device() == at::Device(at::kCPU));
    CHECK_THROWS_NAMING(choose_device(at::kCUDA), DeviceError, "this process sees 0 GPUs");
  }
}

TEST_CASE("a device that this machine does not have is refused") {
  CHECK_THROWS_NAMING(choose_device(at::Device(at::kCUDA, 99)), DeviceError,
                      "cuda:99: no such device");
  CHECK_THROWS_NAMING(choose_device(at::kMeta), DeviceError, "meta: no such device");
}

TEST_CASE("only GPUs have memory of a device") {
  CHECK(peak_device_bytes(at::kCPU) == 0);
  CHECK_THROWS_NAMING(device_memory(at::kCPU), DeviceError, "cpu");
  CHECK_THROWS_AS(device_memory(at::Device(at::kCUDA, 99)), DeviceError);
}

TEST_CASE("free memory on the CPU is the host's, without a second one") {
  const FreeMemory free = free_memory(at::kCPU);
  CHECK(free.device > int64_t{64} << 20);  // this process runs
  CHECK(free.device < int64_t{1} << 50);
  CHECK(free.host == 0);
  CHECK_THROWS_AS(free_memory(at::Device(at::kCUDA, 99)), DeviceError);
}

TEST_CASE("threads that choose TF32 at once leave LibTorch's switch whole and as it was") {
  const bool before = at::globalContext().allowTF32CuBLAS();
  std::atomic<int> thrown = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&thrown, t] {
      for (int i = 0; i < 2000; ++i) {
        try {
          const detail::Tf32Scope outer(t % 2 == 0), inner(i % 2 == 0);
        } catch (const c10::Error&) {
          ++thrown;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(thrown == 0);
  CHECK(at::globalContext().allowTF32CuBLAS() == before);
}

TEST_CASE("memory of a device follows what is allocated there", "[cuda]") {
  if (choose_device().is_cpu()) SKIP("no CUDA device");
  const at::Device device(at::kCUDA, 0);
  const DeviceMemory before = device_memory(device);
  CHECK(before.free > 0);
  CHECK(before.free <= before.total);
  CHECK(free_memory(device).device > 0);
  CHECK(free_memory(device).host > 0);
  const at::Tensor held = at::empty({int64_t{1} << 28}, at::TensorOptions(device).dtype(at::kByte));
  CHECK(before.free - device_memory(device).free >= held.numel());
  CHECK(peak_device_bytes(device) >= held.numel());
}

}  // namespace
}  // namespace slice
