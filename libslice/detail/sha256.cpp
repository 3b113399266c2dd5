#include "libslice/detail/sha256.h"

#include <ATen/ATen.h>
#include <openssl/evp.h>

#include <array>
#include <bit>

#include "libslice/detail/check.h"
#include "libslice/detail/tensor_text.h"

namespace slice::detail {

static_assert(std::endian::native == std::endian::little,
              "the hash is defined over little-endian ids");

std::string sha256(const at::Tensor& ids) {
  SLICE_CHECK_AS(DtypeError, ids.scalar_type() == at::kLong, "sha256: want int64, got {}",
                 describe(ids));
  const at::Tensor flat = ids.cpu().contiguous();
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  SLICE_CHECK_AS(
      Error,
      EVP_Digest(flat.data_ptr(), flat.nbytes(), digest.data(), &size, EVP_sha256(), nullptr) == 1,
      "sha256: OpenSSL refused");
  std::string text;
  for (unsigned int i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

}  // namespace slice::detail
