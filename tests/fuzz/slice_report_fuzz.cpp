// A slice_report.json, beside two files that it may name.

#include "libslice/slicing/written_files.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const slice::tests::TemporaryDirectory directory;
  static const bool once = [] {
    directory.write("config.json", "{}");
    directory.write("a", "");
    return true;
  }();
  static_cast<void>(once);
  directory.write("slice_report.json", slice::fuzz::as_text(data, size));
  slice::fuzz::refusable([&] { slice::check_directory(directory.path()); });
  slice::fuzz::refusable([&] { slice::sliced_from(directory.path()); });
  return 0;
}
