// A byte that names a file of a journal, and its bytes, whose hash at the end is put right: of a
// file that somebody sealed on purpose.

#include <ATen/Functions.h>

#include "libslice/base/detail/sha256.h"
#include "libslice/method/signal.h"
#include "libslice/slicing/detail/resume_journal.h"
#include "tests/fuzz/input.h"

namespace {

using slice::detail::ResumeJournal;
using slice::fuzz::refusable;

constexpr int64_t kLayers = 4, kHidden = 3;
constexpr const char* kFiles[] = {"run.json",
                                  "gradients.safetensors",
                                  "plan.safetensors",
                                  "layer-00000.safetensors",
                                  "layer-00001.safetensors",
                                  "signal-00001.safetensors"};

std::string sealed(std::string_view bytes) {
  constexpr size_t kHash = 64;
  std::string file(bytes);
  if (file.size() < kHash) return file;
  slice::detail::Sha256 hash;
  hash.add(file.data(), file.size() - kHash);
  return file.replace(file.size() - kHash, kHash, hash.text());
}

/// All that a loop asks of a journal that was found.
void resume(const std::filesystem::path& directory) {
  const ResumeJournal journal(directory, slice::Method::kSliceGpt, {{"plan", "small"}}, kLayers, 2,
                              1);
  for (int64_t site = 0; site < 2 * kLayers; ++site) {
    if (journal.knows(site))
      refusable([&] { journal.recall(site, {kHidden, kHidden - 1}, at::kCPU); });
  }
  for (int64_t layer = 0; layer < journal.layers_done(); ++layer) journal.weights_hash(layer);
  refusable([&] { journal.gammas(2, kHidden); });
  refusable([&] { journal.candidates(); });
  journal.report();
  if (journal.first_part() == 0) return;
  refusable([&] { journal.numbers(2); });
  refusable([&] { journal.restore("signal", {2, 4, kHidden}, kHidden, at::kFloat, {}); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static const slice::tests::TemporaryDirectory directory;
  const size_t kind = data[0] % std::size(kFiles);
  const std::string_view bytes = slice::fuzz::as_text(data + 1, size - 1);
  directory.write(kFiles[0], "{\"plan\": \"small\"}");
  const auto file = directory.write(kFiles[kind], kind == 0 ? std::string(bytes) : sealed(bytes));
  refusable([&] { resume(directory.path()); });
  std::filesystem::remove(file);
  return 0;
}
