#include "libslice/base/detail/sha256.h"

#include <ATen/ATen.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <bit>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/input_file.h"
#include "libslice/base/detail/tensor_text.h"

namespace slice::detail {

static_assert(std::endian::native == std::endian::little,
              "the hash is defined over little-endian ids");

Sha256::Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
  SLICE_CHECK_AS(Error, context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1,
                 "sha256: OpenSSL failed");
}

void Sha256::add(const void* data, size_t size) {
  SLICE_CHECK_AS(Error, EVP_DigestUpdate(context_.get(), data, size) == 1,
                 "sha256: OpenSSL failed");
}

void Sha256::add(const InputFile& file, uint64_t begin, uint64_t end) {
  constexpr uint64_t kPiece = uint64_t{1} << 20;
  std::string piece;
  for (; begin < end; begin += piece.size()) {
    piece = file.text(begin, std::min(begin + kPiece, end));
    add(piece.data(), piece.size());
  }
}

std::string Sha256::text() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  SLICE_CHECK_AS(Error, EVP_DigestFinal_ex(context_.get(), digest.data(), &size) == 1,
                 "sha256: OpenSSL failed");
  std::string text;
  for (unsigned int i = 0; i < size; ++i) text += detail::formatted("{:02x}", digest[i]);
  return text;
}

std::string sha256(const at::Tensor& ids) {
  SLICE_CHECK_AS(DtypeError, ids.scalar_type() == at::kLong, "sha256: want int64, got {}",
                 describe(ids));
  const at::Tensor flat = ids.cpu().contiguous();
  Sha256 digest;
  digest.add(flat.data_ptr(), flat.nbytes());
  return digest.text();
}

}  // namespace slice::detail
