#include "python/held_model.h"

#include "libslice/base/error.h"

namespace slice::python {
namespace {

constexpr char kInterrupted[] = "slicing this model was interrupted: load it again";

}  // namespace

HeldModel::Reading::Reading(std::shared_ptr<HeldModel> held) : held_(std::move(held)) {
  int users = held_->users_.load();
  do {
    if (users == kBroken) throw Error(kInterrupted);
    if (users == kSliced) throw Error("this model is being sliced by another thread");
  } while (!held_->users_.compare_exchange_weak(users, users + 1));
}

HeldModel::Reading::~Reading() {
  if (held_) --held_->users_;
}

HeldModel::Slicing::Slicing(HeldModel& held) : held_(held) {
  int users = 0;
  if (held.users_.compare_exchange_strong(users, kSliced)) return;
  throw Error(users == kBroken ? kInterrupted
                               : "this model is in use by an engine or another thread: it cannot "
                                 "be sliced now");
}

HeldModel::Slicing::~Slicing() { held_.users_ = done_ ? 0 : kBroken; }

}  // namespace slice::python
