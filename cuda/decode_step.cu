#include "cuda/decode_step.h"

#include <algorithm>
#include <array>
#include <optional>

#include "cuda/detail/capability.h"
#include "cuda/detail/decode_step.cuh"
#include "cuda/detail/range.h"

// decode_step:   products of one row and attention, one after the other
// grid    a block a multiprocessor, all at one time (cooperative launch)
// block   eight warps that multiply, one that adds their sums up and writes, two that copy, one that
//         looks ahead
// shared  a ring of up to 12 stages of 8 rows × 1024 columns of weights, or of keys and values; X
// numerics  as decode_linear of 8 warps: products on the tensor cores, sums in float32, a warp's
//         columns in ascending order, then the warps in theirs; attention as decode_attention
// edges   any N even, K and K2 multiples of 8, contexts, windows, splits; heads of 64 and 128
// work    reads every weight and cached row once; between two operations the blocks wait for each
//         other 2 … 3 µs, which the ring hides

namespace slice::kernels {
namespace {

using detail::kStepMostStages;
using detail::StepArguments;
using detail::StepOperation;
using detail::StepSource;

constexpr int64_t kHeader = 2;  // numbers before the counters
constexpr int kWordBuffers = 16;
constexpr int kMostBack = 8;  // operations that an operand may be old: its words are still there
constexpr int kStaticBytes = 12 << 10;  // of shared memory, at most
constexpr int kFewestStages = 6;

/// What an operation writes.
struct Output {
  const void* begin = nullptr;
  int64_t columns = 0;
};

Output output_of(const DecodeOperation& operation) {
  if (const auto* l = std::get_if<DecodeLinear>(&operation)) return {l->Y, columns_of(*l)};
  const auto& a = std::get<DecodeAttention>(operation);
  return {a.out, a.heads * a.head_size};
}

/// The operation that made `columns` elements at `pointer`, before `end`. @return  −1: none, the
/// memory is plain; nothing: they are not the whole of one, or too old
std::optional<int> source_of(const std::vector<DecodeOperation>& operations, int end,
                             const void* pointer, int64_t columns) {
  constexpr int64_t kBytes = 2;
  for (int o = end - 1; o >= 0; --o) {
    const Output out = output_of(operations[o]);
    if (detail::are_disjoint(out.begin, out.columns * kBytes, pointer, columns * kBytes)) continue;
    const bool whole = out.begin == pointer && columns <= out.columns && end - o <= kMostBack;
    return whole ? std::optional(o) : std::nullopt;
  }
  return -1;
}

DataType type_of(const DecodeOperation& operation) {
  return std::visit([](const auto& any) { return any.type; }, operation);
}

bool vectors(const void* pointer, int64_t columns) {
  return pointer != nullptr && detail::is_aligned(pointer, detail::kVectorBytes) &&
         columns % 8 == 0;
}

bool linear_runs(const std::vector<DecodeOperation>& operations, int o, int multiprocessors) {
  const auto& l = std::get<DecodeLinear>(operations[o]);
  const int64_t unit = is_gated(l.epilogue) ? 4 : 2;  // rows of W that make two columns
  const auto known = [&](const void* pointer, int64_t columns) {
    return columns == 0 || source_of(operations, o, pointer, columns).has_value();
  };
  return l.M == 1 && l.N > 0 && l.N < (1 << 30) && l.N % unit == 0 &&
         l.N / unit >= multiprocessors && l.K > 0 && vectors(l.X, l.K) && vectors(l.W, l.K) &&
         l.Y != nullptr &&
         (l.K2 == 0 || (vectors(l.Z, l.K2) && vectors(l.V, l.K2) && l.norm_hidden == 0)) &&
         detail::is_aligned(l.norm_weight, detail::kVectorBytes) && l.norm_hidden >= 0 &&
         (l.norm_weight == nullptr || l.norm_hidden > 0) && l.residual_columns >= 0 &&
         l.residual_columns <= columns_of(l) && (l.residual_columns == 0 || l.R != nullptr) &&
         known(l.X, l.K) && known(l.Z, l.K2) && known(l.R, l.residual_columns);
}

bool attention_runs(const std::vector<DecodeOperation>& operations, int o) {
  const auto& a = std::get<DecodeAttention>(operations[o]);
  return detail::attention_is_valid(a) && a.batch == 1 &&
         (a.head_size == 64 || a.head_size == 128) && vectors(a.keys, a.head_size) &&
         vectors(a.values, a.head_size) && a.capacity < (1 << 24) && o > 0 &&
         source_of(operations, o, a.qkv, (a.heads + 2 * a.kv_heads) * a.head_size) == o - 1;
}

/// Chunks of the longest signal.
int64_t most_chunks(const std::vector<DecodeOperation>& operations) {
  int64_t most = 1;
  for (const DecodeOperation& operation : operations) {
    if (const auto* l = std::get_if<DecodeLinear>(&operation)) {
      most = std::max(most, detail::ceil_div(l->K, detail::kStepChunk) +
                                detail::ceil_div(l->K2, detail::kStepChunk));
    }
  }
  return most;
}

/// Stages that shared memory holds beside the longest signal.
int stages_for(const std::vector<DecodeOperation>& operations, int shared_bytes) {
  const int64_t left =
      shared_bytes - kStaticBytes - most_chunks(operations) * detail::kStepChunk * 2;
  return static_cast<int>(std::clamp<int64_t>(left / detail::kStepStageBytes, 0, kStepMostStages));
}

/// Where the parts of the workspace begin, in bytes.
struct Layout {
  int64_t operations, words, buffer, bytes;
};

Layout layout_of(const std::vector<DecodeOperation>& operations) {
  const auto rounded = [](int64_t bytes) { return detail::ceil_div(bytes, 256) * 256; };
  const auto count = static_cast<int64_t>(operations.size());
  int64_t columns = 0;
  for (const DecodeOperation& operation : operations)
    columns = std::max(columns, output_of(operation).columns);
  Layout layout;
  layout.operations = rounded((kHeader + count) * static_cast<int64_t>(sizeof(unsigned)));
  layout.words =
      layout.operations + rounded(count * static_cast<int64_t>(sizeof(StepOperation<__half>)));
  layout.buffer = rounded(detail::ceil_div(columns, 2) * static_cast<int64_t>(sizeof(uint2)));
  layout.bytes = layout.words + kWordBuffers * layout.buffer;
  return layout;
}

template <typename T>
std::vector<StepOperation<T>> described(const std::vector<DecodeOperation>& operations,
                                        char* workspace, int multiprocessors) {
  const Layout layout = layout_of(operations);
  const auto words_of = [&](int o) {
    return reinterpret_cast<uint2*>(workspace + layout.words + o % kWordBuffers * layout.buffer);
  };
  std::vector<StepOperation<T>> result;
  for (int o = 0; o < static_cast<int>(operations.size()); ++o) {
    const auto source = [&](const void* pointer, int64_t columns) {
      const int made = columns == 0 ? -1 : *source_of(operations, o, pointer, columns);
      return made < 0 ? StepSource{nullptr, 0} : StepSource{words_of(made), made};
    };
    StepOperation<T> operation = {};
    operation.words = words_of(o);
    if (const auto* l = std::get_if<DecodeLinear>(&operations[o])) {
      operation.linear = detail::operands_of<T>(*l);
      operation.x = source(l->X, l->K);
      operation.z = source(l->Z, l->K2);
      operation.r = source(l->R, l->residual_columns);
    } else {
      DecodeAttention a = std::get<DecodeAttention>(operations[o]);
      // One item a block, where there are positions enough.
      a.splits = std::clamp<int64_t>(multiprocessors / a.heads, 1, a.splits);
      operation.attention = detail::attention_arguments<T>(a);
      operation.x = {words_of(o - 1), o - 1};
      operation.items = static_cast<int>(a.heads * a.splits);
    }
    result.push_back(operation);
  }
  return result;
}

/// On a stream of its own, beside a capture of this thread's.
cudaError_t write_workspace(char* workspace, const Layout& layout, const void* operations,
                            size_t bytes) {
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  cudaError_t status = cudaThreadExchangeStreamCaptureMode(&mode);
  if (status != cudaSuccess) return status;
  cudaStream_t stream = nullptr;
  status = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  if (status == cudaSuccess) {
    status = cudaMemsetAsync(workspace, 0, layout.bytes, stream);
    if (status == cudaSuccess) {
      status = cudaMemcpyAsync(workspace + layout.operations, operations, bytes,
                               cudaMemcpyHostToDevice, stream);
    }
    const cudaError_t done = cudaStreamSynchronize(stream);
    if (status == cudaSuccess) status = done;
    cudaStreamDestroy(stream);
  }
  cudaThreadExchangeStreamCaptureMode(&mode);
  return status;
}

int64_t head_of(const std::vector<DecodeOperation>& operations) {
  for (const DecodeOperation& operation : operations)
    if (const auto* a = std::get_if<DecodeAttention>(&operation)) return a->head_size;
  return 128;  // none: any
}

template <typename T, int kHead>
cudaError_t launch(const StepArguments<T>& arguments, int multiprocessors, size_t shared_bytes,
                   cudaStream_t stream) {
  static_assert(sizeof(detail::StepShared<T, kHead>) <= kStaticBytes);
  const auto kernel = detail::decode_step_kernel<T, kHead>;
  const cudaError_t status = cudaFuncSetAttribute(
      kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
  if (status != cudaSuccess) return status;
  cudaLaunchAttribute together = {};
  together.id = cudaLaunchAttributeCooperative;
  together.val.cooperative = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(multiprocessors);
  config.blockDim = dim3(detail::kStepThreads);
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  config.attrs = &together;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, kernel, arguments);
}

template <typename Function>
cudaError_t with_half_type(DataType type, Function&& function) {
  return type == DataType::kFloat16 ? function(detail::TypeTag<__half>{})
                                    : function(detail::TypeTag<__nv_bfloat16>{});
}

}  // namespace

bool decode_step_runs(const std::vector<DecodeOperation>& operations) {
  detail::Capability device;
  if (operations.empty() || operations.size() > (1 << 16) ||
      detail::current_capability(device) != cudaSuccess || device.major != detail::kHopperMajor ||
      stages_for(operations, device.shared_bytes) < kFewestStages) {
    return false;
  }
  const DataType type = type_of(operations.front());
  if (size_of(type) != 2) return false;
  const DecodeAttention* first = nullptr;
  for (int o = 0; o < static_cast<int>(operations.size()); ++o) {
    if (type_of(operations[o]) != type) return false;
    if (const auto* a = std::get_if<DecodeAttention>(&operations[o])) {
      if (first == nullptr) first = a;
      if (!attention_runs(operations, o) || a->positions != first->positions ||
          a->head_size != first->head_size) {
        return false;
      }
    } else if (!linear_runs(operations, o, device.multiprocessors)) {
      return false;
    }
  }
  return true;
}

size_t decode_step_workspace_bytes(const std::vector<DecodeOperation>& operations) {
  return static_cast<size_t>(layout_of(operations).bytes);
}

cudaError_t prepare_decode_step(const std::vector<DecodeOperation>& operations, void* workspace) {
  if (workspace == nullptr || !detail::is_aligned(workspace, detail::kVectorBytes) ||
      !decode_step_runs(operations)) {
    return cudaErrorInvalidValue;
  }
  detail::Capability device;
  const cudaError_t status = detail::current_capability(device);
  if (status != cudaSuccess) return status;
  return with_half_type(type_of(operations.front()), [&](auto tag) {
    using T = typename decltype(tag)::Type;
    auto* bytes = static_cast<char*>(workspace);
    const auto list = described<T>(operations, bytes, device.multiprocessors);
    return write_workspace(bytes, layout_of(operations), list.data(),
                           list.size() * sizeof(list.front()));
  });
}

cudaError_t decode_step(const std::vector<DecodeOperation>& operations, void* workspace,
                        cudaStream_t stream) {
  detail::Capability device;
  const cudaError_t status = detail::current_capability(device);
  if (status != cudaSuccess) return status;
  if (operations.empty() || workspace == nullptr) return cudaErrorInvalidValue;
  return with_half_type(type_of(operations.front()), [&](auto tag) {
    using T = typename decltype(tag)::Type;
    auto* bytes = static_cast<char*>(workspace);
    auto* numbers = reinterpret_cast<unsigned*>(bytes);
    StepArguments<T> arguments = {};
    arguments.operations =
        reinterpret_cast<const StepOperation<T>*>(bytes + layout_of(operations).operations);
    arguments.count = static_cast<int>(operations.size());
    arguments.stages = stages_for(operations, device.shared_bytes);
    arguments.steps = numbers;
    arguments.exits = numbers + 1;
    arguments.finished = numbers + kHeader;
    for (const DecodeOperation& operation : operations) {
      if (const auto* a = std::get_if<DecodeAttention>(&operation))
        arguments.positions = a->positions;
    }
    const auto shared_bytes = static_cast<size_t>(arguments.stages * detail::kStepStageBytes +
                                                  most_chunks(operations) * detail::kStepChunk * 2);
    return head_of(operations) == 64
               ? launch<T, 64>(arguments, device.multiprocessors, shared_bytes, stream)
               : launch<T, 128>(arguments, device.multiprocessors, shared_bytes, stream);
  });
}

}  // namespace slice::kernels
