#include "libslice/checkpoint/fingerprint.h"

#include <algorithm>
#include <vector>

#include "libslice/base/detail/formatted.h"
#include "libslice/base/detail/input_file.h"
#include "libslice/base/detail/sha256.h"
#include "libslice/format/gguf.h"

namespace slice::detail {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t kWhole = uint64_t{64} << 20, kHead = uint64_t{1} << 20, kPage = 4096,
                   kPages = 512;

void add_file(Sha256& digest, const fs::path& path, const std::string& name) {
  const InputFile file(path);
  const uint64_t size = file.size();
  const std::string head = detail::formatted("{} {}\n", name, size);
  digest.add(head.data(), head.size());
  if (size <= kWhole) return digest.add(file, 0, size);
  digest.add(file, 0, kHead);
  const uint64_t stride = (size - kPage) / (kPages - 1);  // the last page ends the file
  for (uint64_t i = 0; i < kPages; ++i) digest.add(file, i * stride, i * stride + kPage);
}

/// The other files of a split GGUF file.
std::vector<fs::path> other_parts(const fs::path& file) {
  if (!InputFile(file).head().starts_with("GGUF")) return {};
  std::vector<fs::path> parts = GgufFile(file).files();
  std::erase(parts, file);
  return parts;
}

}  // namespace

std::string fingerprint(const fs::path& checkpoint) {
  Sha256 digest;
  std::vector<fs::path> files;
  std::error_code ignored;
  if (!fs::is_directory(checkpoint, ignored)) {
    add_file(digest, checkpoint, "");
    for (const fs::path& part : other_parts(checkpoint))
      add_file(digest, part, part.filename().string());
    return digest.text();
  }
  for (const auto& entry : fs::directory_iterator(checkpoint)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json") ||
        name == "config.json")
      files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) add_file(digest, file, file.filename().string());
  return digest.text();
}

}  // namespace slice::detail
