#include "libslice/format/detail/dequantise.h"

#include <ATen/Parallel.h>

#include "libslice/base/detail/check.h"
#include "libslice/format/detail/dequantise_k.h"
#include "libslice/format/detail/half.h"

namespace slice::detail {
namespace {

constexpr int64_t kBlock = 32;  // values in a block of every type but the K formats

// A scale d (float16), then 16 bytes: value i in the low half of byte i, value i + 16 in the high
// half. value = d · (q − 8)
void dequantise_q4_0(const std::byte* from, float* to, int64_t blocks) {
  for (int64_t block = 0; block < blocks; ++block, from += 18, to += kBlock) {
    const float d = read_half(from);
    const auto* q = reinterpret_cast<const uint8_t*>(from + 2);
    for (int i = 0; i < 16; ++i) {
      to[i] = d * static_cast<float>((q[i] & 15) - 8);
      to[i + 16] = d * static_cast<float>((q[i] >> 4) - 8);
    }
  }
}

// A scale d and a least value m (float16), then 16 bytes as above. value = d · q + m; d · q is
// exact in float32, so that a fused multiply-add gives the same bits.
void dequantise_q4_1(const std::byte* from, float* to, int64_t blocks) {
  for (int64_t block = 0; block < blocks; ++block, from += 20, to += kBlock) {
    const float d = read_half(from), m = read_half(from + 2);
    const auto* q = reinterpret_cast<const uint8_t*>(from + 4);
    for (int i = 0; i < 16; ++i) {
      to[i] = d * static_cast<float>(q[i] & 15) + m;
      to[i + 16] = d * static_cast<float>(q[i] >> 4) + m;
    }
  }
}

// A scale d (float16), 4 bytes with the fifth bit of every value, then 16 bytes as in Q4_0.
// value = d · (q − 16)
void dequantise_q5_0(const std::byte* from, float* to, int64_t blocks) {
  for (int64_t block = 0; block < blocks; ++block, from += 22, to += kBlock) {
    const float d = read_half(from);
    const auto *fifth = reinterpret_cast<const uint8_t*>(from + 2), *q = fifth + 4;
    for (int i = 0; i < 16; ++i) {
      to[i] = d * static_cast<float>(((q[i] & 15) | (fifth[i / 8] >> i % 8 & 1) << 4) - 16);
      to[i + 16] =
          d * static_cast<float>(((q[i] >> 4) | (fifth[2 + i / 8] >> i % 8 & 1) << 4) - 16);
    }
  }
}

// As Q5_0 with a least value m after d. value = d · q + m
void dequantise_q5_1(const std::byte* from, float* to, int64_t blocks) {
  for (int64_t block = 0; block < blocks; ++block, from += 24, to += kBlock) {
    const float d = read_half(from), m = read_half(from + 2);
    const auto *fifth = reinterpret_cast<const uint8_t*>(from + 4), *q = fifth + 4;
    for (int i = 0; i < 16; ++i) {
      to[i] = d * static_cast<float>((q[i] & 15) | (fifth[i / 8] >> i % 8 & 1) << 4) + m;
      to[i + 16] = d * static_cast<float>((q[i] >> 4) | (fifth[2 + i / 8] >> i % 8 & 1) << 4) + m;
    }
  }
}

// A scale d (float16), then 32 signed bytes. value = d · q
void dequantise_q8_0(const std::byte* from, float* to, int64_t blocks) {
  for (int64_t block = 0; block < blocks; ++block, from += 34, to += kBlock) {
    const float d = read_half(from);
    const auto* q = reinterpret_cast<const int8_t*>(from + 2);
    for (int i = 0; i < kBlock; ++i) to[i] = d * static_cast<float>(q[i]);
  }
}

constexpr GgmlType kTypes[] = {
    {0, "F32", 1, 4, c10::kFloat, nullptr},
    {1, "F16", 1, 2, c10::kHalf, nullptr},
    {30, "BF16", 1, 2, c10::kBFloat16, nullptr},
    {2, "Q4_0", kBlock, 18, c10::kFloat, dequantise_q4_0},
    {3, "Q4_1", kBlock, 20, c10::kFloat, dequantise_q4_1},
    {6, "Q5_0", kBlock, 22, c10::kFloat, dequantise_q5_0},
    {7, "Q5_1", kBlock, 24, c10::kFloat, dequantise_q5_1},
    {8, "Q8_0", kBlock, 34, c10::kFloat, dequantise_q8_0},
    {10, "Q2_K", kSuperBlock, 84, c10::kFloat, dequantise_q2_k},
    {11, "Q3_K", kSuperBlock, 110, c10::kFloat, dequantise_q3_k},
    {12, "Q4_K", kSuperBlock, 144, c10::kFloat, dequantise_q4_k},
    {13, "Q5_K", kSuperBlock, 176, c10::kFloat, dequantise_q5_k},
    {14, "Q6_K", kSuperBlock, 210, c10::kFloat, dequantise_q6_k},
};

struct UnreadType {
  int32_t number;
  const char* name;
};
// Numbers 4, 5, 31 … 33 and 36 … 38 were withdrawn.
constexpr UnreadType kUnread[] = {
    {4, "Q4_2"},        {5, "Q4_3"},     {9, "Q8_1"},   {15, "Q8_K"},       {16, "IQ2_XXS"},
    {17, "IQ2_XS"},     {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"},     {21, "IQ3_S"},
    {22, "IQ2_S"},      {23, "IQ4_XS"},  {24, "I8"},    {25, "I16"},        {26, "I32"},
    {27, "I64"},        {28, "F64"},     {29, "IQ1_M"}, {31, "Q4_0_4_4"},   {32, "Q4_0_4_8"},
    {33, "Q4_0_8_8"},   {34, "TQ1_0"},   {35, "TQ2_0"}, {36, "IQ4_NL_4_4"}, {37, "IQ4_NL_4_8"},
    {38, "IQ4_NL_8_8"}, {39, "MXFP4"},   {40, "NVFP4"}};

}  // namespace

const GgmlType& ggml_type(int32_t number, const std::string& where) {
  for (const GgmlType& type : kTypes) {
    if (type.number == number) return type;
  }
  for (const UnreadType& type : kUnread) {
    SLICE_FORMAT_CHECK(
        type.number != number,
        "{}: type {} is not supported: want F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 or Q2_K … "
        "Q6_K",
        where, type.name);
  }
  throw FormatError(detail::formatted("{}: tensor type {} is unknown", where, number));
}

void dequantise(const GgmlType& type, const std::byte* from, float* to, int64_t blocks) {
  constexpr int64_t kGrain = 32768;  // values a thread: 128 KB of output
  at::parallel_for(0, blocks, kGrain / type.block_size, [&](int64_t begin, int64_t end) {
    type.dequantise(from + begin * type.block_bytes, to + begin * type.block_size, end - begin);
  });
}

}  // namespace slice::detail
