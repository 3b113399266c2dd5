#include "libslice/text/detail/byte_source.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/text/detail/decompress.h"

namespace slice::detail {
namespace {

class FileSource final : public ByteSource {
 public:
  explicit FileSource(const std::string& path)
      : name_(path == "-" ? "standard input" : path),
        descriptor_(path == "-" ? STDIN_FILENO : open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    SLICE_FORMAT_CHECK(descriptor_ >= 0, "{}: {}", name_, std::strerror(errno));
  }
  ~FileSource() override {
    if (descriptor_ != STDIN_FILENO) close(descriptor_);
  }

  size_t read(char* data, size_t size) override {
    for (;;) {
      const ssize_t got = ::read(descriptor_, data, size);
      if (got >= 0) return static_cast<size_t>(got);
      SLICE_FORMAT_CHECK(errno == EINTR, "{}: {}", name_, std::strerror(errno));
    }
  }

 private:
  std::string name_;
  int descriptor_;
};

/// A source whose first bytes were looked at.
class PeekedSource final : public ByteSource {
 public:
  explicit PeekedSource(std::unique_ptr<ByteSource> rest) : rest_(std::move(rest)) {
    char bytes[64];
    while (head_.size() < sizeof bytes) {
      const size_t got = rest_->read(bytes, sizeof bytes - head_.size());
      if (got == 0) break;
      head_.append(bytes, got);
    }
  }
  std::string_view head() const { return head_; }

  size_t read(char* data, size_t size) override {
    if (given_ == head_.size()) return rest_->read(data, size);
    const size_t count = head_.copy(data, size, given_);
    given_ += count;
    return count;
  }

 private:
  std::unique_ptr<ByteSource> rest_;
  std::string head_;
  size_t given_ = 0;
};

struct Magic {
  std::string_view bytes, suffix, what;
};
using std::string_view_literals::operator""sv;
constexpr Magic kMagics[] = {
    {"\x1f\x8b"sv, ".gz", "gzip data: give it a name that ends in .gz"},
    {"\xfd"
     "7zXZ\0"sv,
     ".xz", "xz data: give it a name that ends in .xz"},
    {"\x28\xb5\x2f\xfd"sv, ".zst", "Zstandard data: give it a name that ends in .zst"},
    {"PK\x03\x04"sv, "", "a zip archive: unpack it"},
    {"PAR1"sv, "", "a Parquet file: export its text as JSON lines"},
    {"ARROW1"sv, "", "an Arrow file: export its text as JSON lines"},
    {"\xff\xfe"sv, "", "UTF-16: convert it to UTF-8"},
    {"\xfe\xff"sv, "", "UTF-16: convert it to UTF-8"},
    {"version https://git-lfs.github.com/spec/"sv, "",
     "a Git LFS pointer, not the file itself: fetch it with git lfs pull"},
};

std::string lower_case(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
  return text;
}

}  // namespace

std::unique_ptr<ByteSource> open_text_bytes(const std::string& path) {
  auto file = std::make_unique<PeekedSource>(std::make_unique<FileSource>(path));
  const std::string name = lower_case(path), shown = path == "-" ? "standard input" : path;
  for (const Magic& magic : kMagics) {
    const bool expected = !magic.suffix.empty() && name.ends_with(magic.suffix);
    SLICE_FORMAT_CHECK(expected || !file->head().starts_with(magic.bytes), "{}: {}", shown,
                       magic.what);
  }
  if (name.ends_with(".gz")) return gunzip(std::move(file), path);
  if (name.ends_with(".xz")) return unxz(std::move(file), path);
  if (name.ends_with(".zst")) return unzstd(std::move(file), path);
  return file;
}

std::string uncompressed_name(const std::string& path) {
  const std::string name = lower_case(path);
  for (const std::string_view suffix : {".gz", ".xz", ".zst"})
    if (name.ends_with(suffix)) return name.substr(0, name.size() - suffix.size());
  return name;
}

}  // namespace slice::detail
