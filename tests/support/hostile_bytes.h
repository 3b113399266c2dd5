#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>

#include "libslice/base/error.h"
#include "libslice/format/gguf.h"
#include "libslice/format/safetensors.h"

// What the fuzz targets and the test suite do with bytes that may be anything.

namespace slice::tests {

/// A file in memory alone: thousands of them cost no disk.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view bytes) : descriptor_(memfd_create("hostile", MFD_CLOEXEC)) {
    if (descriptor_ < 0 || write(descriptor_, bytes.data(), bytes.size()) != std::ssize(bytes)) {
      throw std::runtime_error("no memory file");
    }
  }
  MemoryFile(const MemoryFile&) = delete;
  ~MemoryFile() { close(descriptor_); }
  std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

/// Opens a file and reads all of its tensors: true when it was well-formed, false when a
/// slice::Error refused it. Anything else that is thrown passes through: it is a bug.
template <typename File>
bool reads_whole(std::string_view bytes) {
  const MemoryFile memory(bytes);
  try {
    const File file(memory.path());
    for (const auto& [name, entry] : file.tensors()) file.read(name);
  } catch (const Error&) {
    return false;
  }
  return true;
}

/// One mutation out of those that find bugs in readers: bits, bytes, lengths, cuts, repeats.
inline std::string mutated(std::string bytes, std::mt19937_64& random) {
  const auto below = [&](size_t bound) { return bound == 0 ? 0 : random() % bound; };
  for (size_t rounds = 1 + below(3); rounds > 0 && !bytes.empty(); --rounds) {
    const size_t at =
        below(2) == 0 ? below(bytes.size()) : below(std::min<size_t>(bytes.size(), 400));
    switch (below(6)) {
      case 0:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
        break;
      case 1:
        bytes[at] = static_cast<char>(random());
        break;
      case 2: {
        constexpr uint64_t kNumbers[] = {
            0, 1, 0x7fffffff, 0xffffffff, ~uint64_t{0}, uint64_t{1} << 63, 1000000};
        const uint64_t number = kNumbers[below(std::size(kNumbers))];
        for (size_t i = 0; i < 8 && at + i < bytes.size(); ++i) {
          bytes[at + i] = static_cast<char>(number >> (8 * i));
        }
        break;
      }
      case 3:
        bytes.resize(at);
        break;
      case 4:
        bytes.insert(at, bytes.substr(below(bytes.size()), below(32)));
        break;
      default:
        bytes.erase(at, 1 + below(8));
    }
  }
  return bytes;
}

}  // namespace slice::tests
