#include "verify.h"

#include <ATen/ATen.h>

#include <cmath>
#include <string>
#include <vector>

#include "libslice/model/decoder.h"

namespace cli {

at::Tensor verified_windows(const slice::CalibrationWindows& windows) {
  const std::vector<int64_t> rows = windows.rows(slice::WindowUse::kHeldOut);
  return rows.empty() ? windows.tokens()
                      : windows.tokens().index_select(0, at::tensor(rows, at::kLong));
}

slice::VerifyReport verify(const slice::Model& model, const std::filesystem::path& directory,
                           std::optional<at::ScalarType> dtype, const at::Tensor& windows,
                           double dense, const slice::OnProgress& on_progress) {
  slice::check_saved(model, directory, dtype);
  const slice::Model loaded = slice::load_model(
      directory, {.device = model.decoder().device(), .dtype = model.decoder().dtype()});
  slice::check_saved(loaded, directory, dtype);
  const double sliced = std::log(slice::score_windows(loaded, windows, on_progress).perplexity);
  return {.windows = windows.size(0), .loss_before = dense, .loss_after = sliced};
}

}  // namespace cli
