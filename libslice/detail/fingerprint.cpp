#include "libslice/detail/fingerprint.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "libslice/detail/check.h"
#include "libslice/detail/file.h"

namespace slice::detail {

namespace fs = std::filesystem;

namespace {

constexpr size_t kWhole = size_t{64} << 20, kHead = size_t{1} << 20, kPage = 4096, kPages = 512;

class Digest {
 public:
  Digest() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    SLICE_CHECK_AS(Error, context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1,
                   "sha256: OpenSSL refused");
  }
  void add(const void* data, size_t size) {
    SLICE_CHECK_AS(Error, EVP_DigestUpdate(context_.get(), data, size) == 1,
                   "sha256: OpenSSL refused");
  }
  std::string text() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
    unsigned int size = 0;
    SLICE_CHECK_AS(Error, EVP_DigestFinal_ex(context_.get(), bytes.data(), &size) == 1,
                   "sha256: OpenSSL refused");
    std::string text;
    for (unsigned int i = 0; i < size; ++i) text += fmt::format("{:02x}", bytes[i]);
    return text;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

void add_file(Digest& digest, const fs::path& path, const std::string& name) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  const std::string head = fmt::format("{} {}\n", name, bytes.size());
  digest.add(head.data(), head.size());
  if (bytes.size() <= kWhole) return digest.add(bytes.data(), bytes.size());
  digest.add(bytes.data(), kHead);
  const size_t stride = (bytes.size() - kPage) / (kPages - 1);  // the last page ends the file
  for (size_t i = 0; i < kPages; ++i) digest.add(bytes.data() + i * stride, kPage);
}

}  // namespace

std::string fingerprint(const fs::path& checkpoint) {
  Digest digest;
  std::vector<fs::path> files;
  std::error_code ignored;
  if (!fs::is_directory(checkpoint, ignored)) {
    add_file(digest, checkpoint, "");
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
