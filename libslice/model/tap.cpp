#include "libslice/model/tap.h"

#include <algorithm>
#include <utility>

namespace slice {

struct Tap::Observers {
  std::vector<std::pair<int64_t, Observer>> entries;
  int64_t next_id = 1;
};

Tap::Tap() : observers_(std::make_shared<Observers>()) {}

TapHandle Tap::attach(Observer observer) {
  TapHandle handle;
  handle.observers_ = observers_;
  handle.id_ = observers_->next_id++;
  observers_->entries.emplace_back(handle.id_, std::move(observer));
  return handle;
}

void Tap::operator()(const at::Tensor& z) const {
  for (const auto& [id, observer] : observers_->entries) observer(z);
}

bool Tap::observed() const { return !observers_->entries.empty(); }

TapHandle::TapHandle(TapHandle&& other) noexcept
    : observers_(std::move(other.observers_)), id_(std::exchange(other.id_, 0)) {}

TapHandle& TapHandle::operator=(TapHandle&& other) noexcept {
  if (this != &other) {
    detach();
    observers_ = std::move(other.observers_);
    id_ = std::exchange(other.id_, 0);
  }
  return *this;
}

TapHandle::~TapHandle() { detach(); }

void TapHandle::detach() noexcept {
  if (auto observers = observers_.lock()) {
    std::erase_if(observers->entries, [this](const auto& entry) { return entry.first == id_; });
  }
  observers_.reset();
}

}  // namespace slice
