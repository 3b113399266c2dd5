#include "libslice/slicing/detail/window_parts.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "libslice/method/window_share.h"

namespace slice::detail {

using at::Tensor;

WindowParts::WindowParts(const CalibrationWindows& windows, const ProcessGroup& group) {
  const int64_t T = windows.tokens().size(1);
  std::vector<int64_t> own;
  const auto add = [&](WindowUse use, std::vector<WindowPart>& parts) {
    const int64_t all = std::ssize(windows.rows(use));
    const auto [first, last] =
        use == WindowUse::kFit ? window_share(all, T, group) : group.share(all);
    int64_t begin = 0;  // of the text, among all windows of this use
    for (int64_t text = 0; text < std::ssize(windows.texts()); ++text) {
      const std::vector<int64_t> rows = windows.rows(use, text);
      if (rows.empty()) continue;
      const auto n = std::ssize(rows), position = std::ssize(own);
      const int64_t from = std::clamp<int64_t>(first - begin, 0, n),
                    to = std::clamp<int64_t>(last - begin, 0, n);
      own.insert(own.end(), rows.begin() + from, rows.begin() + to);
      parts.push_back({text, position, std::ssize(own)});
      begin += n;
    }
  };
  add(WindowUse::kFit, fit);
  add(WindowUse::kChoose, choose);
  summed = std::ssize(own);
  add(WindowUse::kHeldOut, held_out);
  tokens =
      windows.tokens().index_select(0, at::tensor(own, at::kLong).to(windows.tokens().device()));
}

}  // namespace slice::detail
