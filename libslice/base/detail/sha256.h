#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

struct evp_md_ctx_st;  // OpenSSL's

namespace slice::detail {

class InputFile;

/// SHA-256 of bytes that come in pieces.
class Sha256 {
 public:
  Sha256();
  void add(const void* data, size_t size);
  /// Bytes [begin, end) of a file. @throws FormatError  they cannot be read
  void add(const InputFile& file, uint64_t begin, uint64_t end);
  /// The hash in hexadecimal; nothing may be added after this.
  std::string text();

 private:
  std::unique_ptr<evp_md_ctx_st, void (*)(evp_md_ctx_st*)> context_;
};

/// SHA-256, in hexadecimal, of an int64 tensor's values in row-major order as little-endian bytes.
std::string sha256(const at::Tensor& ids);

}  // namespace slice::detail
