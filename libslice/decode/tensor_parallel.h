#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>

#include "libslice/decode/group_decoder.h"

namespace slice {

/// Decoding in which every rank of a group has its share of every layer: whole query heads with
/// their keys and values, feed-forward channels, input coordinates of a dense shortcut, and rows of
/// embedding and head. Norms, other shortcuts and learned positions are on every rank.
///
/// What the ranks' writers give is added up once a sublayer, together with a dense shortcut's
/// products; the writers' biases are the first rank's. These sums are made in the dtype that the
/// weights are held in, which sends the fewest bytes: in half precision every addend is rounded,
/// and every addition. The stream after them is the same on every rank, bit for bit where devices
/// are alike, and the logits, gathered, are always.
///
/// A token's time is that of the largest shares and of sublayers + 1 sums of B·T·k numbers.
class TensorParallel : public GroupDecoder {
 public:
  /// Reads this rank's shares; one whole tensor at a time is in the host's memory.
  /// @throws ArgumentError  fewer query heads, feed-forward channels or words than ranks, capacity
  ///                        or batch < 1
  /// @throws FormatError, NumericError, DeviceError  as load_model
  TensorParallel(const Checkpoint& checkpoint, const ProcessGroup& group,
                 const GroupDecoderOptions& options = {});

 private:
  at::Tensor stream(const at::Tensor& tokens, KvCache* cache) const override;
  at::Tensor head(const at::Tensor& stream) const override;
  at::Tensor embed(const at::Tensor& tokens, const KvCache* cache) const;
  at::Tensor run(const Sublayer& sublayer, const at::Tensor& x, KvCache* cache) const;
};

/// Query heads that a rank has, and the key/value heads that these read: [first, last).
struct HeadShare {
  std::pair<int64_t, int64_t> heads, kv_heads;
};

/// Key/value heads are dealt out whole where there are enough, with all query heads that read them;
/// shares differ by one of them at most. Else each is on several ranks, which divide its query
/// heads: a rank never has queries of two of which one is elsewhere too.
/// @throws ArgumentError  fewer query heads than ranks
HeadShare split_heads(const ModelConfig& config, int64_t ranks, int64_t rank);

}  // namespace slice
