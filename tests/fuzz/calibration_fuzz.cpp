// A calibration text: plain, JSON lines, records of Alpaca, compressed.

#include "libslice/text/calibration.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const slice::tests::TemporaryDirectory directory;
  for (const char* name :
       {"text.txt", "text.jsonl", "text.json", "text.gz", "text.xz", "text.zst"}) {
    const auto path = directory.write(name, slice::fuzz::as_text(data, size));
    slice::fuzz::refusable([&] { slice::read_text(path.string()); });
  }
  return 0;
}
