#include "libslice/format/detail/dequantise_k.h"

#include "libslice/format/detail/half.h"

namespace slice::detail {
namespace {

/// Scale and least value of the 8 parts of a Q4_K or Q5_K block: 16 numbers of 6 bits in 12 bytes.
/// Parts 0 … 3 have the lower six bits of the first 8 bytes; the upper two bits of these and four
/// bits of the last 4 bytes make parts 4 … 7.
struct PartScales {
  float scale[8], least[8];

  PartScales(const uint8_t* bytes, float d, float d_least) {
    for (int part = 0; part < 4; ++part) {
      const int a = bytes[part], b = bytes[part + 4], c = bytes[part + 8];
      scale[part] = d * static_cast<float>(a & 63);
      least[part] = d_least * static_cast<float>(b & 63);
      scale[part + 4] = d * static_cast<float>((c & 15) | (a >> 6) << 4);
      least[part + 4] = d_least * static_cast<float>((c >> 4) | (b >> 6) << 4);
    }
  }
};

}  // namespace

// 16 bytes of part scales (low half: scale, high half: least value), 64 bytes of quants, d and
// d_least. Bytes 0 … 31 hold values 0 … 127, 32 at a time in bits 0-1, 2-3, 4-5, 6-7; bytes 32 … 63
// the rest.
void dequantise_q2_k(const std::byte* from, float* to, int64_t blocks) {
  for (int64_t block = 0; block < blocks; ++block, from += 84, to += kSuperBlock) {
    const auto* scales = reinterpret_cast<const uint8_t*>(from);
    const uint8_t* quants = scales + 16;
    const float d = read_half(from + 80), d_least = read_half(from + 82);
    for (int part = 0; part < 16; ++part) {
      const uint8_t* q = quants + part / 8 * 32 + part % 2 * 16;
      const int shift = part % 8 / 2 * 2;
      const float scale = d * static_cast<float>(scales[part] & 15),
                  least = d_least * static_cast<float>(scales[part] >> 4);
      for (int i = 0; i < 16; ++i)
        to[part * 16 + i] = scale * static_cast<float>(q[i] >> shift & 3) - least;
    }
  }
}

// 32 bytes of third bits (bit v / 32 of byte v % 32; clear means 4 less), 64 bytes of low bits as
// in Q2_K, 12 bytes of part scales, d. Scale of a part: 4 bits of bytes 0 … 7 and 2 bits of bytes
// 8 … 11, minus 32.
void dequantise_q3_k(const std::byte* from, float* to, int64_t blocks) {
  for (int64_t block = 0; block < blocks; ++block, from += 110, to += kSuperBlock) {
    const auto* third = reinterpret_cast<const uint8_t*>(from);
    const uint8_t *quants = third + 32, *packed = third + 96;
    const float d = read_half(from + 108);
    for (int part = 0; part < 16; ++part) {
      const int low = packed[part % 8] >> part / 8 * 4 & 15,
                high = packed[8 + part % 4] >> part / 4 * 2 & 3;
      const float scale = d * static_cast<float>((low | high << 4) - 32);
      const uint8_t *q = quants + part / 8 * 32 + part % 2 * 16, *t = third + part % 2 * 16;
      const int shift = part % 8 / 2 * 2;
      for (int i = 0; i < 16; ++i) {
        const int value = (q[i] >> shift & 3) - (t[i] >> part / 2 & 1 ? 0 : 4);
        to[part * 16 + i] = scale * static_cast<float>(value);
      }
    }
  }
}

// d, d_least, 12 bytes of part scales, 128 bytes of quants: 32 bytes hold two parts, the first one
// in their low halves.
void dequantise_q4_k(const std::byte* from, float* to, int64_t blocks) {
  for (int64_t block = 0; block < blocks; ++block, from += 144, to += kSuperBlock) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(from);
    const PartScales parts(bytes + 4, read_half(from), read_half(from + 2));
    for (int part = 0; part < 8; ++part) {
      const uint8_t* q = bytes + 16 + part / 2 * 32;
      const int shift = part % 2 * 4;
      for (int i = 0; i < 32; ++i) {
        to[part * 32 + i] =
            parts.scale[part] * static_cast<float>(q[i] >> shift & 15) - parts.least[part];
      }
    }
  }
}

// As Q4_K, with 32 bytes of fifth bits (bit v / 32 of byte v % 32) before the quants.
void dequantise_q5_k(const std::byte* from, float* to, int64_t blocks) {
  for (int64_t block = 0; block < blocks; ++block, from += 176, to += kSuperBlock) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(from);
    const PartScales parts(bytes + 4, read_half(from), read_half(from + 2));
    const uint8_t* fifth = bytes + 16;
    for (int part = 0; part < 8; ++part) {
      const uint8_t* q = bytes + 48 + part / 2 * 32;
      const int shift = part % 2 * 4;
      for (int i = 0; i < 32; ++i) {
        const int value = (q[i] >> shift & 15) | (fifth[i] >> part & 1) << 4;
        to[part * 32 + i] = parts.scale[part] * static_cast<float>(value) - parts.least[part];
      }
    }
  }
}

// 128 bytes of lower four bits, 64 bytes of upper two bits, 16 signed part scales, d. In each half
// of the block, 64 bytes hold values 0 … 63 in their low halves and 64 … 127 in their high halves,
// and 32 bytes hold the upper bits, 32 values at a time.
void dequantise_q6_k(const std::byte* from, float* to, int64_t blocks) {
  for (int64_t block = 0; block < blocks; ++block, from += 210, to += kSuperBlock) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(from);
    const auto* scales = reinterpret_cast<const int8_t*>(from + 192);
    const float d = read_half(from + 208);
    for (int part = 0; part < 16; ++part) {
      const int half = part / 8, quarter = part % 8 / 2, first = part % 2 * 16;
      const uint8_t *low = bytes + half * 64 + quarter % 2 * 32 + first,
                    *high = bytes + 128 + half * 32 + first;
      const float scale = d * static_cast<float>(scales[part]);
      for (int i = 0; i < 16; ++i) {
        const int value = (low[i] >> quarter / 2 * 4 & 15) | (high[i] >> quarter * 2 & 3) << 4;
        to[part * 16 + i] = scale * static_cast<float>(value - 32);
      }
    }
  }
}

}  // namespace slice::detail
