#include "libslice/text/detail/decompress.h"

#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <new>
#include <utility>
#include <vector>

#include "libslice/base/detail/check.h"

namespace slice::detail {
namespace {

constexpr uint64_t kMostMemory = uint64_t{256} << 20, kMostBytes = uint64_t{16} << 30;
constexpr int kMostWindowLog = 27;  // of Zstandard: 128 MiB

/// Feeds pieces of packed data to a decoder.
class Decompressor : public ByteSource {
 public:
  Decompressor(std::unique_ptr<ByteSource> packed, std::string path)
      : packed_(std::move(packed)), path_(std::move(path)) {}

  size_t read(char* data, size_t size) final {
    for (;;) {
      if (begin_ == end_ && !ended_) {
        begin_ = 0;
        end_ = packed_->read(buffer_.data(), buffer_.size());
        ended_ = end_ == 0;
      }
      const Step done = step(buffer_.data() + begin_, end_ - begin_, data, size);
      begin_ += done.taken;
      unpacked_ += done.given;
      SLICE_FORMAT_CHECK(unpacked_ <= kMostBytes, "{}: unpacks to more than 16 GiB", path_);
      if (done.given > 0) return done.given;
      if (done.taken > 0) continue;
      if (begin_ < end_) damaged("data that makes no sense");
      if (!ended_) continue;
      if (!whole()) damaged("it ends too early");
      return 0;
    }
  }

 protected:
  struct Step {
    size_t taken = 0, given = 0;
  };
  /// Unpacks what it can of `size` bytes, none at the end of the file, into `room` bytes.
  virtual Step step(const char* data, size_t size, char* out, size_t room) = 0;
  /// Whether the data may end here.
  virtual bool whole() const = 0;
  bool ended() const { return ended_; }
  [[noreturn]] void damaged(const std::string& why) const {
    throw FormatError(formatted("{}: damaged: {}", path_, why));
  }
  const std::string& path() const { return path_; }

 private:
  std::unique_ptr<ByteSource> packed_;
  std::string path_;
  std::vector<char> buffer_ = std::vector<char>(size_t{1} << 16);
  size_t begin_ = 0, end_ = 0;
  uint64_t unpacked_ = 0;
  bool ended_ = false;
};

class Gzip final : public Decompressor {
 public:
  Gzip(std::unique_ptr<ByteSource> packed, const std::string& path)
      : Decompressor(std::move(packed), path) {
    if (inflateInit2(&state_, kGzipOnly) != Z_OK) throw std::bad_alloc();
  }
  ~Gzip() override { inflateEnd(&state_); }

 private:
  static constexpr int kGzipOnly = 16 + MAX_WBITS;

  Step step(const char* data, size_t size, char* out, size_t room) override {
    size_t padding = 0;  // zeros between and after members, as tapes and block devices leave them
    if (between_) {
      while (padding < size && data[padding] == '\0') ++padding;
      if (padding == size) return {padding, 0};
      inflateReset(&state_);
      between_ = false;
    }
    state_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data + padding));
    state_.avail_in = static_cast<uInt>(size - padding);
    state_.next_out = reinterpret_cast<Bytef*>(out);
    state_.avail_out = static_cast<uInt>(room);
    const int status = inflate(&state_, Z_NO_FLUSH);
    if (status != Z_OK && status != Z_BUF_ERROR && status != Z_STREAM_END)
      damaged(state_.msg != nullptr ? state_.msg : "no gzip data");
    between_ = status == Z_STREAM_END;
    return {size - state_.avail_in, room - state_.avail_out};
  }
  bool whole() const override { return between_; }

  z_stream state_{};
  bool between_ = false;  // two members
};

class Xz final : public Decompressor {
 public:
  Xz(std::unique_ptr<ByteSource> packed, const std::string& path)
      : Decompressor(std::move(packed), path) {
    if (lzma_stream_decoder(&state_, kMostMemory, LZMA_CONCATENATED) != LZMA_OK)
      throw std::bad_alloc();
  }
  ~Xz() override { lzma_end(&state_); }

 private:
  Step step(const char* data, size_t size, char* out, size_t room) override {
    if (finished_) return {};
    state_.next_in = reinterpret_cast<const uint8_t*>(data);
    state_.avail_in = size;
    state_.next_out = reinterpret_cast<uint8_t*>(out);
    state_.avail_out = room;
    const lzma_ret status = lzma_code(&state_, ended() ? LZMA_FINISH : LZMA_RUN);
    SLICE_FORMAT_CHECK(status != LZMA_MEMLIMIT_ERROR, "{}: takes more than 256 MiB to unpack",
                       path());
    if (status == LZMA_MEM_ERROR) throw std::bad_alloc();
    if (status == LZMA_FORMAT_ERROR) damaged("no xz data");
    if (status != LZMA_OK && status != LZMA_STREAM_END && status != LZMA_BUF_ERROR)
      damaged("data that makes no sense");
    finished_ = status == LZMA_STREAM_END;
    return {size - state_.avail_in, room - state_.avail_out};
  }
  bool whole() const override { return finished_; }

  lzma_stream state_ = LZMA_STREAM_INIT;
  bool finished_ = false;
};

class Zstandard final : public Decompressor {
 public:
  Zstandard(std::unique_ptr<ByteSource> packed, const std::string& path)
      : Decompressor(std::move(packed), path), state_(ZSTD_createDCtx()) {
    if (state_ == nullptr) throw std::bad_alloc();
    ZSTD_DCtx_setParameter(state_, ZSTD_d_windowLogMax, kMostWindowLog);
  }
  ~Zstandard() override { ZSTD_freeDCtx(state_); }

 private:
  Step step(const char* data, size_t size, char* out, size_t room) override {
    if (whole() && size == 0) return {};
    ZSTD_inBuffer in = {data, size, 0};
    ZSTD_outBuffer to = {out, room, 0};
    left_ = ZSTD_decompressStream(state_, &to, &in);
    if (ZSTD_isError(left_) != 0) damaged(ZSTD_getErrorName(left_));
    return {in.pos, to.pos};
  }
  bool whole() const override { return left_ == 0; }

  ZSTD_DCtx* state_;
  size_t left_ = 1;  // 0 at the end of a frame
};

}  // namespace

std::unique_ptr<ByteSource> gunzip(std::unique_ptr<ByteSource> packed, const std::string& path) {
  return std::make_unique<Gzip>(std::move(packed), path);
}

std::unique_ptr<ByteSource> unxz(std::unique_ptr<ByteSource> packed, const std::string& path) {
  return std::make_unique<Xz>(std::move(packed), path);
}

std::unique_ptr<ByteSource> unzstd(std::unique_ptr<ByteSource> packed, const std::string& path) {
  return std::make_unique<Zstandard>(std::move(packed), path);
}

}  // namespace slice::detail
