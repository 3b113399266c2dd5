#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libslice/checkpoint/model.h"

namespace slice {

class ProcessGroup;
namespace detail {
class DividedDevices;
}

/// A model whose layers are divided among GPUs of one host, which this process drives, a thread a
/// GPU: each has whole query heads with their keys and values, feed-forward channels, input
/// coordinates of dense shortcuts, and all of embedding, head, norms and other shortcuts. A
/// Generator or Batch of it runs captured steps, in which what the GPUs' writers give is added up
/// once a sublayer over each other's memory (cuda/all_reduce.h), and each computes the logits of its
/// own words.
///
/// The parts that are added are rounded to the weights' type, their sum in float32 once more. All
/// GPUs hold the same stream and logits, bit for bit. Copies are handles on the same weights. Any
/// number of Generators and Batches may run it, their steps one after the other. Two models that
/// share a GPU must not run at the same time: either's kernels wait for theirs on other GPUs.
class DividedModel {
 public:
  /// Makes what a GPU holds of a parameter; `own` is the shape of that part.
  using MakeWeight =
      std::function<at::Tensor(const std::string& name, at::IntArrayRef own, at::Device device)>;

  /// Every GPU's thread reads its own shares; one whole tensor a GPU at a time is in the host's
  /// memory.
  /// @param devices  GPUs that reach each other's memory, "cuda:0", "cuda:1"; no two alike
  /// @param dtype    of the weights and of what is computed: float16, bfloat16 or float32; absent:
  ///                 the stored one, float16 of a quantised file
  /// @throws ArgumentError  fewer query heads or feed-forward channels than devices; a model that
  ///                        decodes_captured says no to; a norm over the queries of all heads
  /// @throws FormatError, NumericError  as load_model
  /// @throws DeviceError    no such GPU, or one that does not reach another's memory
  DividedModel(const std::filesystem::path& path, const std::vector<at::Device>& devices,
               std::optional<at::ScalarType> dtype = std::nullopt);
  /// A process a GPU, as torchrun starts them, all on this host: every process makes the same model,
  /// and the same Generators and Batches of it, and calls the same members with the same arguments;
  /// each has all results. When a process ends, or has an error that the others do not have, calls of
  /// all throw from then on. Processes may share a GPU, of which they then take turns of milliseconds.
  /// An Engine, which does what comes first, has no use for it.
  /// @param device  of this process
  /// @throws Error        lost contact with another rank
  /// @throws DeviceError  also: ranks of several hosts
  DividedModel(const std::filesystem::path& path, const ProcessGroup& group, at::Device device,
               std::optional<at::ScalarType> dtype = std::nullopt);
  /// Of weights that are on no disk. @param weight  called by every GPU's thread for its parts
  DividedModel(const ModelConfig& config, const std::vector<at::Device>& devices,
               const MakeWeight& weight);

  /// The whole model: its sizes and its tokenizer, without memory for weights.
  const Model& whole() const { return *whole_; }
  const ModelConfig& config() const { return whole_->config(); }
  /// That this process drives.
  const std::vector<at::Device>& devices() const;
  /// Whether other processes have parts of it.
  bool spans_processes() const;
  /// Parameters that one of them holds. @throws std::out_of_range  there are not so many
  int64_t parameters(int64_t number) const;
  /// What its parts are, and what drives them.
  const std::shared_ptr<detail::DividedDevices>& parts() const { return parts_; }

 private:
  /// Makes the whole model and its parts of a checkpoint. @param make  parts, of what reads weights
  template <typename Make>
  void read(const std::filesystem::path& path, std::optional<at::ScalarType> dtype,
            const Make& make);

  std::shared_ptr<const Model> whole_;
  std::shared_ptr<detail::DividedDevices> parts_;
};

}  // namespace slice
