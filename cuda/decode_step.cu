#include "cuda/decode_step.h"

#include <algorithm>

#include "cuda/detail/capability.h"
#include "cuda/detail/decode_step.cuh"
#include "cuda/detail/decode_step_list.h"
#include "cuda/detail/range.h"

// decode_step:   products of one row and attention, one after the other
// grid    a block a multiprocessor, all at one time (cooperative launch)
// block   eight warps that multiply, one that adds their sums up and writes, two that copy, one that
//         looks ahead
// shared  a ring of up to 12 stages of 8 rows × 1024 columns of weights, or of keys and values; X
// numerics  as decode_linear of 8 warps: products on the tensor cores, sums in float32, a warp's
//         columns in ascending order, then the warps in theirs; attention as decode_attention
// edges   any N even, K and K2 multiples of 8, contexts, windows, splits; heads of 8 … 128 by 8; a
//         block without rows of a product waits for nothing of it
// work    reads every weight and cached row once; between two operations the blocks wait for each
//         other 2 … 3 µs, which the ring hides

namespace slice::kernels {
namespace {

using detail::kStepMostStages;
using detail::StepArguments;
using detail::StepItem;
using detail::StepOperation;
using detail::StepSource;

constexpr int64_t kHeader = 2;  // numbers before the counters
// A block that writes an operation is ahead of no other by more than twice kStepMostBack (detail/
// decode_step_list.h), and that one reads what is kStepMostBack old.
constexpr int kWordBuffers = 3 * detail::kStepMostBack;
constexpr int kStaticBytes = 12 << 10;  // of shared memory, at most
constexpr int kFewestStages = 6;

DataType type_of(const DecodeOperation& operation) {
  return std::visit([](const auto& any) { return any.type; }, operation);
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
  int64_t operations, words, buffer, partials, partial_buffer, bytes;
};

/// As many as give every block no more than one pair of a head and a split.
int64_t splits_of(const DecodeAttention& a, int multiprocessors) {
  constexpr int64_t kMost = 16;
  return std::clamp<int64_t>(multiprocessors / a.heads, 1, kMost);
}

Layout layout_of(const std::vector<StepItem>& items, int multiprocessors) {
  const auto rounded = [](int64_t bytes) { return detail::ceil_div(bytes, 256) * 256; };
  const auto count = static_cast<int64_t>(items.size());
  int64_t columns = 0, partials = 0;
  for (const StepItem& item : items) {
    if (item.is_read) columns = std::max(columns, detail::columns_of(item));
    if (const DecodeAttention* a = detail::attention_of(item)) {
      partials = std::max(partials, a->heads * splits_of(*a, multiprocessors) *
                                        (detail::kPartialHeader + a->head_size));
    }
  }
  Layout layout;
  layout.operations = rounded((kHeader + count) * static_cast<int64_t>(sizeof(unsigned)));
  layout.words =
      layout.operations + rounded(count * static_cast<int64_t>(sizeof(StepOperation<__half>)));
  layout.buffer = rounded(detail::ceil_div(columns, 2) * static_cast<int64_t>(sizeof(uint2)));
  layout.partials = layout.words + kWordBuffers * layout.buffer;
  layout.partial_buffer = rounded(partials * static_cast<int64_t>(sizeof(uint2)));
  layout.bytes = layout.partials + kWordBuffers * layout.partial_buffer;
  return layout;
}

template <typename T>
std::vector<StepOperation<T>> described(const std::vector<StepItem>& items, char* workspace,
                                        int multiprocessors) {
  const Layout layout = layout_of(items, multiprocessors);
  const auto words_of = [&](int o) {
    return reinterpret_cast<uint2*>(workspace + layout.words + o % kWordBuffers * layout.buffer);
  };
  const auto source = [&](int made) {
    return made < 0 ? StepSource{nullptr, 0} : StepSource{words_of(made), made};
  };
  std::vector<StepOperation<T>> result;
  for (int o = 0; o < static_cast<int>(items.size()); ++o) {
    const StepItem& item = items[o];
    StepOperation<T> operation = {};
    if (item.is_read) operation.words = words_of(o);
    operation.x = source(item.x);
    if (item.x >= 0) {
      const int made = result[item.x].items;
      operation.makers = static_cast<unsigned>(made > 0 ? made : multiprocessors);
    }
    operation.z = source(item.z);
    operation.r = source(item.r);
    if (const DecodeLinear* l = detail::linear_of(item)) {
      operation.linear = detail::operands_of<T>(*l);
      if (const DecodeNorm* n = item.norm) {
        operation.is_centred = true;
        operation.linear.X = static_cast<const T*>(n->X);
        operation.linear.norm_weight = static_cast<const T*>(n->weight);
        operation.linear.eps = static_cast<float>(n->eps);
        operation.norm_bias = static_cast<const T*>(n->bias);
      }
    } else {
      DecodeAttention a = *detail::attention_of(item);
      a.splits = splits_of(a, multiprocessors);
      operation.attention = detail::attention_arguments<T>(a);
      operation.partials = reinterpret_cast<uint2*>(workspace + layout.partials +
                                                    o % kWordBuffers * layout.partial_buffer);
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

/// The attention of a list, or nullptr.
const DecodeAttention* first_attention(const std::vector<DecodeOperation>& operations) {
  for (const DecodeOperation& operation : operations)
    if (const auto* a = std::get_if<DecodeAttention>(&operation)) return a;
  return nullptr;
}

bool is_alike(const DecodeOperation& operation, DataType type, const DecodeAttention* attention) {
  const auto* a = std::get_if<DecodeAttention>(&operation);
  return type_of(operation) == type && (a == nullptr || (a->positions == attention->positions &&
                                                         a->head_size == attention->head_size));
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
  const DecodeAttention* attention = first_attention(operations);
  if (size_of(type) != 2 ||
      !std::all_of(operations.begin(), operations.end(),
                   [&](const auto& any) { return is_alike(any, type, attention); })) {
    return false;
  }
  const auto items = detail::step_items(operations);
  return items && !items->empty() && detail::step_items_run(*items, device.multiprocessors);
}

size_t decode_step_workspace_bytes(const std::vector<DecodeOperation>& operations) {
  detail::Capability device;
  const auto items = detail::step_items(operations);
  if (!items || detail::current_capability(device) != cudaSuccess) return 0;
  return static_cast<size_t>(layout_of(*items, device.multiprocessors).bytes);
}

cudaError_t prepare_decode_step(const std::vector<DecodeOperation>& operations, void* workspace) {
  if (workspace == nullptr || !detail::is_aligned(workspace, detail::kVectorBytes) ||
      !decode_step_runs(operations)) {
    return cudaErrorInvalidValue;
  }
  detail::Capability device;
  const cudaError_t status = detail::current_capability(device);
  if (status != cudaSuccess) return status;
  const std::vector<StepItem> items = *detail::step_items(operations);
  return with_half_type(type_of(operations.front()), [&](auto tag) {
    using T = typename decltype(tag)::Type;
    auto* bytes = static_cast<char*>(workspace);
    const auto list = described<T>(items, bytes, device.multiprocessors);
    return write_workspace(bytes, layout_of(items, device.multiprocessors), list.data(),
                           list.size() * sizeof(list.front()));
  });
}

cudaError_t decode_step(const std::vector<DecodeOperation>& operations, void* workspace,
                        cudaStream_t stream) {
  detail::Capability device;
  const cudaError_t status = detail::current_capability(device);
  if (status != cudaSuccess) return status;
  const auto items = detail::step_items(operations);
  if (workspace == nullptr || !items || items->empty()) return cudaErrorInvalidValue;
  return with_half_type(type_of(operations.front()), [&](auto tag) {
    using T = typename decltype(tag)::Type;
    auto* bytes = static_cast<char*>(workspace);
    auto* numbers = reinterpret_cast<unsigned*>(bytes);
    const DecodeAttention* attention = first_attention(operations);
    StepArguments<T> arguments = {};
    arguments.operations = reinterpret_cast<const StepOperation<T>*>(
        bytes + layout_of(*items, device.multiprocessors).operations);
    arguments.count = static_cast<int>(items->size());
    arguments.stages = stages_for(operations, device.shared_bytes);
    arguments.steps = numbers;
    arguments.exits = numbers + 1;
    arguments.finished = numbers + kHeader;
    arguments.positions = attention == nullptr ? nullptr : attention->positions;
    const auto shared_bytes = static_cast<size_t>(arguments.stages * detail::kStepStageBytes +
                                                  most_chunks(operations) * detail::kStepChunk * 2);
    return attention != nullptr && attention->head_size <= 64
               ? launch<T, 64>(arguments, device.multiprocessors, shared_bytes, stream)
               : launch<T, 128>(arguments, device.multiprocessors, shared_bytes, stream);
  });
}

}  // namespace slice::kernels
