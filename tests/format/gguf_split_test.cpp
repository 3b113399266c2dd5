#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <filesystem>

#include "libslice/base/error.h"
#include "libslice/format/gguf.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/matchers.h"
#include "tests/support/temporary_directory.h"

namespace slice {
namespace {

namespace fs = std::filesystem;
using namespace tests;
using W = GgufWriter;

constexpr uint32_t kU16 = 2;

/// Part `no` of a model that gguf-split cut into `count` files.
W part(uint16_t no, uint16_t count, int32_t tensors) {
  W file;
  if (no == 0) file.text("general.name", "whole");
  file.value("split.no", kU16, no);
  file.value("split.count", kU16, count);
  file.value("split.tensors.count", W::kI32, tensors);
  return file;
}

/// Three files: metadata alone, then a and b, then a quantised c.
void write_split(const TemporaryDirectory& directory) {
  W second = part(1, 3, 3), third = part(2, 3, 3);
  second.tensor("a", {2, 4}, W::kTypeF32, std::string(32, '\1'));
  second.tensor("b", {4}, W::kTypeF32, std::string(16, '\2'));
  third.tensor("c", {3, 32}, W::kTypeQ8_0,
               std::string(34, '\3') + std::string(34, '\4') + std::string(34, '\5'));
  directory.write("m-00001-of-00003.gguf", part(0, 3, 3).bytes());
  directory.write("m-00002-of-00003.gguf", second.bytes());
  directory.write("m-00003-of-00003.gguf", third.bytes());
}

TEST_CASE("a split GGUF is one file, given by any of its parts") {
  const TemporaryDirectory directory;
  write_split(directory);
  for (const std::string name :
       {"m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"}) {
    const GgufFile file(directory.path() / name);
    CHECK(file.path() == directory.path() / name);
    CHECK(file.get<std::string>("general.name") == "whole");
    CHECK(file.tensors().size() == 3);
    CHECK(file.read("a").sizes() == at::IntArrayRef({2, 4}));
    CHECK(file.read("c").sizes() == at::IntArrayRef({3, 32}));
  }
}

TEST_CASE("rows of a matrix are those of the whole of it") {
  const TemporaryDirectory directory;
  write_split(directory);
  const GgufFile file(directory.path() / "m-00001-of-00003.gguf");
  for (const std::string name : {"a", "c"}) {
    const at::Tensor whole = file.read(name);
    for (int64_t begin = 0; begin < whole.size(0); ++begin) {
      CHECK(bit_difference(file.read(name, begin, whole.size(0)),
                           whole.slice(0, begin).contiguous()) == "");
    }
    CHECK_THROWS_AS(file.read(name, 1, whole.size(0) + 1), ArgumentError);
  }
  CHECK_THROWS_AS(file.read("b", 0, 1), ArgumentError);  // no rows
}

TEST_CASE("a split GGUF that is not whole is refused, naming what is not there") {
  const std::string last = "m-00003-of-00003.gguf";
  {
    const TemporaryDirectory directory;
    write_split(directory);
    fs::remove(directory.path() / last);
    CHECK_THROWS_NAMING(GgufFile(directory.path() / "m-00002-of-00003.gguf"), FormatError,
                        "one of the 3 files of a split model, of which " + last + " is not there");
  }
  {
    const TemporaryDirectory directory;
    write_split(directory);
    fs::rename(directory.path() / last, directory.path() / "renamed.gguf");
    CHECK_THROWS_NAMING(GgufFile(directory.path() / "renamed.gguf"), FormatError,
                        "one of 3 files (split.count), number 3");
  }
  {
    const TemporaryDirectory directory;
    write_split(directory);
    directory.write(last, part(1, 3, 3).bytes());
    CHECK_THROWS_NAMING(GgufFile(directory.path() / "m-00001-of-00003.gguf"), FormatError,
                        last + ": want number 3 of 3 files");
    directory.write(last, part(2, 3, 3).bytes());
    CHECK_THROWS_NAMING(GgufFile(directory.path() / "m-00001-of-00003.gguf"), FormatError,
                        "hold 2 tensors, of 3");
    W twice = part(2, 3, 3);
    twice.tensor("b", {4}, W::kTypeF32, std::string(16, '\2'));
    directory.write(last, twice.bytes());
    CHECK_THROWS_NAMING(GgufFile(directory.path() / "m-00001-of-00003.gguf"), FormatError,
                        "b is in another file");
  }
}

}  // namespace
}  // namespace slice
