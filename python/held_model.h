#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "libslice/checkpoint/model.h"

namespace slice::python {

/// A model that Python holds. Python's threads may do anything with it at any time, so who reads it
/// and who slices it keep a count here, and are refused what would not be safe.
class HeldModel {
 public:
  explicit HeldModel(Model model) : model_(std::make_shared<const Model>(std::move(model))) {}

  /// While one is there the model is read, and nobody slices it.
  class Reading {
   public:
    /// @throws Error  the model is being sliced, or its slicing was interrupted
    explicit Reading(std::shared_ptr<HeldModel> held);
    ~Reading();
    Reading(Reading&& other) noexcept : held_(std::exchange(other.held_, nullptr)) {}
    const Model& operator*() const { return *held_->model_; }
    const Model* operator->() const { return held_->model_.get(); }
    const std::shared_ptr<const Model>& shared() const { return held_->model_; }

   private:
    std::shared_ptr<HeldModel> held_;
  };

  /// While one is there nobody else may use the model.
  class Slicing {
   public:
    /// @throws Error  the model is in use, or its slicing was interrupted
    explicit Slicing(HeldModel& held);
    /// The model is whole again only if done() was called.
    ~Slicing();
    Slicing(const Slicing&) = delete;
    Model model() const { return held_.model_->share(); }
    void done() { done_ = true; }

   private:
    HeldModel& held_;
    bool done_ = false;
  };

 private:
  static constexpr int kSliced = -1, kBroken = -2;  // of users_

  std::shared_ptr<const Model> model_;
  std::atomic<int> users_ = 0;  // how many read it, or one of the above
};

}  // namespace slice::python
