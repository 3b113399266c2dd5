#include "libslice/base/detail/input_file.h"

#include <catch2/catch_all.hpp>
#include <chrono>
#include <filesystem>
#include <string>
#include <utility>

#include "libslice/base/error.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/checkpoint/gguf_write.h"
#include "libslice/checkpoint/model.h"
#include "tests/support/matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

namespace fs = std::filesystem;
using namespace tests;
using detail::InputFile;

TEST_CASE("an input file gives its bytes by position, and none outside it") {
  const TemporaryDirectory scratch;
  const fs::path path = scratch.write("file", "0123456789");
  InputFile file(path);
  CHECK(file.size() == 10);
  CHECK(file.text(2, 5) == "234");
  CHECK(file.text(10, 10).empty());
  CHECK(file.head() == "0123456789");
  CHECK_THROWS_NAMING(file.text(8, 11), FormatError, "bytes 8 … 11 are outside its 10");
  CHECK_THROWS_NAMING(file.text(5, 4), FormatError, "outside");
  const InputFile moved = std::move(file);
  CHECK(moved.text(0, 1) == "0");
  CHECK(InputFile(scratch.write("long", std::string(5000, 'x'))).head().size() == 1024);
  CHECK(InputFile(scratch.write("empty", "")).head().empty());
  CHECK_THROWS_NAMING(InputFile(scratch.path() / "none"), FormatError, "No such file");
  CHECK_THROWS_NAMING(InputFile(scratch.path()), FormatError, "not a regular file");
}

TEST_CASE("a file that is cut, or changed, while it is read ends in an error") {
  const TemporaryDirectory scratch;
  const fs::path path = scratch.write("file", std::string(100000, 'a'));
  const InputFile cut(path);
  fs::resize_file(path, 50000);
  CHECK_THROWS_NAMING(cut.text(0, 100000), FormatError, "file: became shorter while it was read");
  CHECK_THROWS_NAMING(cut.text(0, 10), FormatError, "file: was changed while it was read");
  const InputFile changed(path);
  scratch.write("file", std::string(50000, 'b'));
  fs::last_write_time(path, fs::last_write_time(path) + std::chrono::seconds(1));
  CHECK_THROWS_NAMING(changed.text(0, 10), FormatError, "file: was changed while it was read");
  const InputFile replaced(path);
  fs::rename(scratch.write("other", "other"), path);
  CHECK(replaced.text(0, 2) == "bb");  // the file that was opened
}

TEST_CASE("weights of a model that is cut after its header was read end in an error") {
  const TemporaryDirectory scratch;
  const Model model = random_model(tiny_config(), 1, at::kFloat);
  save_model(model, scratch.path() / "model");
  save_gguf(model, scratch.path() / "model.gguf");
  for (const char* name : {"model/model.safetensors", "model.gguf"}) {
    CAPTURE(name);
    const fs::path file = scratch.path() / name;
    const auto checkpoint =
        open_checkpoint(file.extension() == ".gguf" ? file : file.parent_path());
    fs::resize_file(file, fs::file_size(file) / 2);
    CHECK_THROWS_AS(
        [&] {
          for (const auto& [tensor, entry] : checkpoint->tensors()) checkpoint->read(tensor);
        }(),
        FormatError);
  }
}

}  // namespace
}  // namespace slice
