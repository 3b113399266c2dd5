#include "libslice/text/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>
#include <queue>

namespace slice {
namespace {

// Up to this length (nearly every word) a quadratic scan of one or two cache lines beats a heap.
constexpr size_t kScanLimit = 48;
constexpr int32_t kNone = -1;
constexpr uint64_t kEmpty = ~uint64_t{0};  // the pair (-1, -1), which no merge has
constexpr int32_t kNoPriority = std::numeric_limits<int32_t>::max();

uint64_t pair_key(int32_t left, int32_t right) {
  return (uint64_t{static_cast<uint32_t>(left)} << 32) | static_cast<uint32_t>(right);
}

// Priority, then position: the order in which pairs are joined.
uint64_t candidate_key(int32_t priority, int32_t position) {
  return (uint64_t{static_cast<uint32_t>(priority)} << 32) | static_cast<uint32_t>(position);
}

}  // namespace

MergeTable::MergeTable(const std::vector<Merge>& merges) {
  slots_.resize(std::bit_ceil(2 * merges.size() + 1), {kEmpty, {}});
  for (const Merge& merge : merges) {
    const uint64_t pair = pair_key(merge.left, merge.right);
    slots_[slot_of(pair)] = {pair, {merge.priority, merge.merged}};
  }
}

// The slot of the pair, or the empty one where it would be; at least half of the slots are empty.
size_t MergeTable::slot_of(uint64_t pair) const {
  const size_t mask = slots_.size() - 1;
  size_t slot = (pair * 0x9E3779B97F4A7C15u) >> 32 & mask;
  while (slots_[slot].pair != pair && slots_[slot].pair != kEmpty) slot = (slot + 1) & mask;
  return slot;
}

const MergeTable::Target* MergeTable::find(int32_t left, int32_t right) const {
  const uint64_t pair = pair_key(left, right);
  const Slot& slot = slots_[slot_of(pair)];
  return slot.pair == pair ? &slot.target : nullptr;
}

void MergeTable::merge_inplace(std::vector<int32_t>& symbols) const {
  if (symbols.size() <= kScanLimit) {
    merge_by_scanning(symbols);
  } else {
    merge_by_heap(symbols);
  }
}

void MergeTable::merge_by_scanning(std::vector<int32_t>& symbols) const {
  Target targets[kScanLimit];  // targets[i]: what symbols i and i + 1 make
  const auto look_up = [&](size_t i) {
    const Target* target = i + 1 < symbols.size() ? find(symbols[i], symbols[i + 1]) : nullptr;
    targets[i] = target ? *target : Target{kNoPriority, kNone};
  };
  for (size_t i = 0; i < symbols.size(); ++i) look_up(i);
  while (symbols.size() > 1) {
    const auto earlier = [](const Target& a, const Target& b) { return a.priority < b.priority; };
    const Target* best = std::min_element(targets, targets + symbols.size() - 1, earlier);
    if (best->merged == kNone) return;
    const size_t i = best - targets;
    symbols[i] = best->merged;
    symbols.erase(symbols.begin() + i + 1);
    std::copy(targets + i + 2, targets + symbols.size() + 1, targets + i + 1);
    look_up(i);
    if (i > 0) look_up(i - 1);
  }
}

void MergeTable::merge_by_heap(std::vector<int32_t>& symbols) const {
  const auto n = static_cast<int32_t>(symbols.size());
  std::vector<int32_t> next(n), previous(n);
  std::vector<uint64_t> found;
  const auto target_at = [&](int32_t i) -> const Target* {
    const bool pair = i != kNone && symbols[i] != kNone && next[i] != kNone;
    return pair ? find(symbols[i], symbols[next[i]]) : nullptr;
  };
  for (int32_t i = 0; i < n; ++i) {
    previous[i] = i - 1;
    next[i] = i + 1 < n ? i + 1 : kNone;
    const Target* target = target_at(i);
    if (target) found.push_back(candidate_key(target->priority, i));
  }
  std::priority_queue heap(std::greater<uint64_t>(), std::move(found));
  while (!heap.empty()) {
    const uint64_t key = heap.top();
    heap.pop();
    const auto i = static_cast<int32_t>(key & 0xFFFFFFFF);
    // Stale when a neighbour has changed since: then there is another pair here, or none.
    const Target* target = target_at(i);
    if (!target || candidate_key(target->priority, i) != key) continue;
    const int32_t j = next[i];
    symbols[i] = target->merged;
    symbols[j] = kNone;
    next[i] = next[j];
    if (next[j] != kNone) previous[next[j]] = i;
    for (const int32_t changed : {previous[i], i}) {
      const Target* there = target_at(changed);
      if (there) heap.push(candidate_key(there->priority, changed));
    }
  }
  std::erase(symbols, kNone);
}

}  // namespace slice
