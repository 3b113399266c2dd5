#pragma once

#include "cuda/detail/decode_attention.cuh"
#include "cuda/detail/decode_linear.cuh"

// decode_step: its operations as the kernel reads them, how they are divided among blocks, and how
// blocks read each other's columns.

namespace slice::kernels::detail {

constexpr int kStepRows = 8;                     // of W a stage
constexpr int kStepChunk = 1024;                 // columns of them
constexpr int kStepPitch = 2 * kStepChunk + 64;  // bytes; neighbouring rows begin in other banks
constexpr int kStepStageBytes = kStepRows * kStepPitch;
constexpr int kStepCacheBytes = kStepStageBytes / 2 / 1024 * 1024;  // of K, and of V, a stage
constexpr int kStepMostStages = 12;
constexpr int kStepWindow = 3;  // stages under way; more make every other access wait behind them
// Blocks look for so few columns at once; for more they wait until all are said to be there, lest they
// crowd the L2.
constexpr int64_t kStepFewColumns = 2048;
constexpr int kStepSlots = 4;  // operations that a block looks ahead

constexpr int kStepMultipliers = 8;  // warps
constexpr int kStepAdder = 8, kStepCopiers = 9, kStepScout = 11;
constexpr int kStepThreads = 12 * kWarp;

/// Where an operand comes from: words of an earlier operation of the step, or plain memory that the
/// step does not write (words is nullptr).
struct StepSource {
  const uint2* words;
  int operation;
};

/// A product or, where items > 0, an attention: its pairs of a query head and a split.
template <typename T>
struct alignas(16) StepOperation {
  DecodeLinearOperands<T> linear;
  AttentionArguments<T> attention;
  StepSource x, z, r;  // x: of qkv
  unsigned makers;     // blocks or items that made x
  uint2* words;        // of what it makes, or nullptr: nothing in the step reads it
  uint2* partials;     // of splits that are not the first of their head: kPartialHeader + d words
  int items;
  bool is_centred;     // a LayerNorm is before it: of linear.norm_weight and linear.eps,
  const T* norm_bias;  // and this, or nullptr
};

template <typename T>
struct StepArguments {
  const StepOperation<T>* operations;
  int count, stages;
  unsigned* steps;     // that came before
  unsigned* exits;     // blocks that have come to the end
  unsigned* finished;  // of each operation: blocks or items, of all steps
  const int32_t* positions;
};

struct StepRowRange {
  int begin, count;
};

/// A block's rows of W: whole pairs of columns of Y.
template <typename T>
__device__ __forceinline__ StepRowRange rows_of_block(const DecodeLinearOperands<T>& p) {
  const int unit = 2 * p.rows_per_column();
  const unsigned pairs = static_cast<unsigned>(p.N) / unit;
  const int begin = static_cast<int>(pairs * blockIdx.x / gridDim.x) * unit;
  const int end = static_cast<int>(pairs * (blockIdx.x + 1) / gridDim.x) * unit;
  return {begin, end - begin};
}

/// Chunks of columns of W, then of V.
template <typename T>
__device__ __forceinline__ int chunks_of_first(const DecodeLinearOperands<T>& p) {
  return static_cast<int>(ceil_div(p.K, kStepChunk));
}
template <typename T>
__device__ __forceinline__ int chunks_of(const DecodeLinearOperands<T>& p) {
  return chunks_of_first(p) + static_cast<int>(ceil_div(p.K2, kStepChunk));
}

/// Columns that chunk `chunk` has.
template <typename T>
__device__ __forceinline__ int columns_of_chunk(const DecodeLinearOperands<T>& p, int chunk) {
  const int first = chunks_of_first(p);
  const int64_t left = chunk < first ? p.K - int64_t{chunk} * kStepChunk
                                     : p.K2 - int64_t{chunk - first} * kStepChunk;
  return static_cast<int>(min(left, int64_t{kStepChunk}));
}

/// Positions whose keys and values a stage holds, of heads of kHead.
template <typename T, int kHead>
constexpr int kStepCacheRows = kStepCacheBytes / (kHead * static_cast<int>(sizeof(T)));

/// The positions of a split, in whole stages of kStageRows; as few splits as decode_attention() has,
/// since blocks that wait for each other lose 2.5 µs.
template <int kStageRows, typename T>
__device__ __forceinline__ AttentionRange step_range_of(const AttentionArguments<T>& a,
                                                        int position, int split) {
  const int all = position + 1;
  const int seen = a.window > 0 && a.window < all ? static_cast<int>(a.window) : all;
  const int share = max((seen + a.splits - 1) / a.splits, kMinSplitRows);
  const int rows = (share + kStageRows - 1) / kStageRows * kStageRows;
  const int begin = all - seen + split * rows;
  return {begin, min(begin + rows, all), (seen + rows - 1) / rows, position};
}

/// The key head of an item's query head.
template <typename T>
__device__ __forceinline__ int key_head_of(const AttentionArguments<T>& a, int item) {
  return item / a.splits / (a.heads / a.kv_heads);
}

// A word is two neighbouring columns and the stamp of the operation and step that made them, written
// and read as one: who reads the stamp has the columns, without a fence.

__device__ __forceinline__ uint2 load_word(const uint2* word) {
  uint2 value;
  asm volatile(
      "{\n"
      ".reg .b64 both;\n"
      "ld.relaxed.gpu.global.b64 both, [%2];\n"
      "mov.b64 {%0, %1}, both;\n"
      "}\n"
      : "=r"(value.x), "=r"(value.y)
      : "l"(__cvta_generic_to_global(word))
      : "memory");
  return value;
}

/// Two neighbouring words, the first of which has an even number.
__device__ __forceinline__ uint4 load_words(const uint2* words) {
  uint4 value;
  asm volatile(
      "{\n"
      ".reg .b64 first, second;\n"
      "ld.relaxed.gpu.global.v2.b64 {first, second}, [%4];\n"
      "mov.b64 {%0, %1}, first;\n"
      "mov.b64 {%2, %3}, second;\n"
      "}\n"
      : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
      : "l"(__cvta_generic_to_global(words))
      : "memory");
  return value;
}

/// The word, once it has the stamp.
__device__ __forceinline__ uint32_t wait_for_word(const uint2* word, unsigned stamp) {
  uint2 value = load_word(word);
  while (value.y != stamp) value = load_word(word);
  return value.x;
}

__device__ __forceinline__ void store_word(uint2* word, uint32_t value, unsigned stamp) {
  asm volatile(
      "{\n"
      ".reg .b64 both;\n"
      "mov.b64 both, {%1, %2};\n"
      "st.relaxed.gpu.global.b64 [%0], both;\n"
      "}\n" ::"l"(__cvta_generic_to_global(word)),
      "r"(value), "r"(stamp)
      : "memory");
}

/// By neighbouring lanes of a whole warp: the even one stores its value and the next lane's.
template <typename T>
__device__ __forceinline__ void store_pair(uint2* words, int column, T value, bool valid,
                                           unsigned stamp) {
  uint16_t bits;
  memcpy(&bits, &value, sizeof bits);
  const uint32_t next = __shfl_down_sync(kAllLanes, static_cast<uint32_t>(bits), 1);
  if (valid && words != nullptr && column % 2 == 0)
    store_word(words + column / 2, bits | next << 16, stamp);
}

/// Counts an operation's block or item. A hint of when to look for its words, ordered with nothing.
__device__ __forceinline__ void count_finished(unsigned* counter) {
  asm volatile("red.relaxed.gpu.global.add.u32 [%0], 1;" ::"l"(__cvta_generic_to_global(counter))
               : "memory");
}
__device__ __forceinline__ void wait_for_count(const unsigned* counter, unsigned wanted) {
  unsigned seen;
  do {
    asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];"
                 : "=r"(seen)
                 : "l"(__cvta_generic_to_global(counter))
                 : "memory");
  } while (static_cast<int>(seen - wanted) < 0);
}

}  // namespace slice::kernels::detail
