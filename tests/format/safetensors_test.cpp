#include "libslice/format/safetensors.h"

#include <ATen/ATen.h>
#include <sys/resource.h>

#include <catch2/catch_all.hpp>
#include <cmath>
#include <csignal>
#include <cstring>
#include <ctime>
#include <limits>
#include <nlohmann/json.hpp>

#include "libslice/base/error.h"
#include "tests/support/hostile_bytes.h"
#include "tests/support/matchers.h"
#include "tests/support/temporary_directory.h"

namespace slice {
namespace {

namespace fs = std::filesystem;
using at::Tensor;
using nlohmann::json;
using namespace tests;
using Slot = SafetensorsWriter::Slot;

std::string file_bytes(const std::string& header, const std::string& data) {
  const uint64_t size = header.size();
  return std::string(reinterpret_cast<const char*>(&size), sizeof size) + header + data;
}

json entry(const std::string& dtype, const std::vector<int64_t>& shape, uint64_t begin,
           uint64_t end) {
  return {{"dtype", dtype}, {"shape", shape}, {"data_offsets", {begin, end}}};
}

TEST_CASE("rows of a tensor are read without the others") {
  const TemporaryDirectory directory;
  const fs::path path = directory.path() / "x.safetensors";
  const Tensor rows = at::arange(30, at::kFloat).view({5, 3, 2});
  SafetensorsWriter writer(
      path,
      {{"before", at::kByte, {7}}, {"rows", at::kFloat, {5, 3, 2}}, {"scalar", at::kFloat, {}}});
  writer.write("before", at::zeros({7}, at::kByte));
  writer.write("rows", rows);
  writer.write("scalar", at::full({}, 1.0f));
  writer.finish();
  const SafetensorsFile file(path);
  CHECK(bit_difference(file.read("rows", 0, 5), rows) == "");
  CHECK(bit_difference(file.read("rows", 2, 4), rows.slice(0, 2, 4).contiguous()) == "");
  CHECK(file.read("rows", 3, 3).sizes() == at::IntArrayRef({0, 3, 2}));
  CHECK_THROWS_NAMING(file.read("rows", 2, 6), ArgumentError, "rows 2 … 6 are outside its 5");
  CHECK_THROWS_NAMING(file.read("rows", -1, 2), ArgumentError, "rows");
  CHECK_THROWS_NAMING(file.read("scalar", 0, 0), FormatError, "no tensor with rows");
  CHECK_THROWS_NAMING(file.read("other", 0, 0), FormatError, "other");
}

TEST_CASE("tensors of every dtype and shape come back to the bit, with their names and metadata") {
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16, at::kLong,
                                     at::kInt, at::kShort, at::kChar, at::kByte, at::kBool}) {
    tensors.emplace_back(c10::toString(dtype), at::randint(0, 2, {3, 5}, at::kLong).to(dtype));
  }
  tensors.emplace_back("scalar", at::full({}, 2.5f));
  tensors.emplace_back("empty", at::empty({0, 4}));
  tensors.emplace_back("odd \"name\" é", at::randn({1, 1, 7}));
  tensors.emplace_back("special", at::tensor({std::nanf(""), -INFINITY, -0.0f, 1e-45f}));
  const TemporaryDirectory directory;
  const fs::path path = directory.path() / "x.safetensors";
  std::vector<Slot> slots;
  for (const auto& [name, tensor] : tensors)
    slots.push_back({name, tensor.scalar_type(), tensor.sizes().vec()});
  SafetensorsWriter writer(path, slots);
  for (const auto& [name, tensor] : tensors) writer.write(name, tensor);
  writer.finish();

  const SafetensorsFile file(path);
  CHECK(file.metadata() == std::map<std::string, std::string>{{"format", "pt"}});
  REQUIRE(file.tensors().size() == tensors.size());
  for (const auto& [name, tensor] : tensors) {
    CAPTURE(name);
    for (int time = 0; time < 2; ++time) {  // again, after its pages were given back
      const Tensor got = file.read(name);
      CHECK(got.scalar_type() == tensor.scalar_type());
      CHECK(got.sizes() == tensor.sizes());
      const bool same =
          tensor.numel() == 0 ||
          std::memcmp(got.const_data_ptr(), tensor.const_data_ptr(), tensor.nbytes()) == 0;
      CHECK(same);
    }
  }
}

TEST_CASE("a tensor that was read has its own memory") {
  const TemporaryDirectory directory;
  const fs::path path = directory.path() / "x.safetensors";
  SafetensorsWriter writer(path, {{"a", at::kFloat, {4}}});
  writer.write("a", at::ones({4}));
  writer.finish();
  Tensor tensor;
  {
    const SafetensorsFile file(path);
    tensor = file.read("a");
    file.read("a").zero_();
    CHECK(bit_difference(file.read("a"), at::ones({4})) == "");
  }
  fs::remove(path);
  CHECK(bit_difference(tensor, at::ones({4})) == "");
}

TEST_CASE("the writer converts views of any strides piece by piece") {
  const Tensor base = at::randn({3, 2000, 1001});  // more than one piece
  const std::vector<Tensor> views = {base,
                                     base.transpose(0, 2),
                                     base.slice(2, 1, 1001, 3),
                                     base.select(0, 1).t(),
                                     base.reshape({1, -1}),
                                     base.select(0, 0).select(0, 0).expand({3000, 1001})};
  const TemporaryDirectory directory;
  const fs::path path = directory.path() / "x.safetensors";
  std::vector<Slot> slots;
  for (size_t i = 0; i < views.size(); ++i)
    slots.push_back({std::to_string(i), at::kHalf, views[i].sizes().vec()});
  SafetensorsWriter writer(path, slots);
  for (size_t i = 0; i < views.size(); ++i) writer.write(slots[i].name, views[i]);
  writer.finish();
  const SafetensorsFile file(path);
  for (size_t i = 0; i < views.size(); ++i) {
    CAPTURE(i);
    CHECK(bit_difference(file.read(slots[i].name), views[i].to(at::kHalf).contiguous()) == "");
  }
}

TEST_CASE("a finite value that overflows the dtype is refused by name; infinities and NaNs pass") {
  const TemporaryDirectory directory;
  int files = 0;
  const auto write = [&](const Tensor& tensor, at::ScalarType dtype) {
    SafetensorsWriter writer(directory.path() / std::to_string(files++),
                             {{"the.weight", dtype, tensor.sizes().vec()}});
    writer.write("the.weight", tensor);
    writer.finish();
  };
  const float inf = std::numeric_limits<float>::infinity();
  CHECK_THROWS_NAMING(write(at::tensor({1.0f, -65520.0f}), at::kHalf), NumericError,
                      "the.weight overflows float16");
  CHECK_THROWS_NAMING(write(at::tensor({inf, 70000.0f, std::nanf("")}), at::kHalf), NumericError,
                      "the.weight");
  CHECK_THROWS_NAMING(write(at::tensor({3.4e38f}), at::kHalf), NumericError, "the.weight");
  CHECK_THROWS_NAMING(write(at::tensor({std::numeric_limits<float>::max()}), at::kBFloat16),
                      NumericError, "the.weight overflows bfloat16");
  CHECK_THROWS_NAMING(write(at::full({1}, 1e300, at::kDouble), at::kFloat), NumericError,
                      "overflows float32");
  CHECK_NOTHROW(write(at::tensor({65504.0f, -65519.0f}), at::kHalf));
  CHECK_NOTHROW(write(at::tensor({inf, std::nanf("")}), at::kHalf));
}

TEST_CASE("the writer refuses what does not match its slots") {
  const TemporaryDirectory directory;
  const fs::path path = directory.path() / "x.safetensors";
  SafetensorsWriter writer(path, {{"a", at::kFloat, {2, 3}}, {"b", at::kLong, {1}}});
  CHECK_THROWS_NAMING(writer.write("b", at::ones({1})), ArgumentError, "want a next, got b");
  CHECK_THROWS_NAMING(writer.write("a", at::ones({3, 2})), ShapeError,
                      "a: want (2, 3), got (3, 2)");
  writer.write("a", at::ones({2, 3}));
  CHECK_THROWS_NAMING(writer.write("b", at::ones({1})), DtypeError, "b: want Long");
  CHECK_THROWS_NAMING(writer.finish(), Error, "b was never written");
  writer.write("b", at::ones({1}, at::kLong));
  CHECK_THROWS_NAMING(writer.write("c", at::ones({1})), ArgumentError,
                      "want no more tensors next, got c");
  writer.finish();
  CHECK_THROWS_NAMING(SafetensorsWriter(path, {}), Error, "x.safetensors");  // exists
  CHECK_THROWS_NAMING(SafetensorsWriter(directory.path() / "no" / "x", {}), Error, "no/x");
  CHECK_THROWS_NAMING(
      SafetensorsWriter(directory.path() / "y", {{"a", at::kFloat, {1}}, {"a", at::kFloat, {1}}}),
      ArgumentError, "duplicate tensor a");
  CHECK_THROWS_NAMING(SafetensorsWriter(directory.path() / "y", {{"a", at::kComplexFloat, {1}}}),
                      DtypeError, "ComplexFloat");
  CHECK_FALSE(fs::exists(directory.path() / "y"));
}

TEST_CASE("a disk that takes no more is an error that names the file") {
  struct FileSizeLimit {  // the kernel's own way to say no
    explicit FileSizeLimit(rlim_t bytes) {
      getrlimit(RLIMIT_FSIZE, &before);
      const rlimit limit = {bytes, before.rlim_max};
      setrlimit(RLIMIT_FSIZE, &limit);
    }
    ~FileSizeLimit() {
      setrlimit(RLIMIT_FSIZE, &before);
      std::signal(SIGXFSZ, handler);
    }
    rlimit before{};
    void (*handler)(int) = std::signal(SIGXFSZ, SIG_IGN);
  };
  const TemporaryDirectory directory;
  const auto write = [&] {
    const FileSizeLimit limit(4096);
    SafetensorsWriter writer(directory.path() / "large", {{"a", at::kFloat, {4096}}});
    writer.write("a", at::ones({4096}));
  };
  CHECK_THROWS_NAMING(write(), Error, "large: cannot write: File too large");
}

TEST_CASE("malformed safetensors files are refused, naming the file and the tensor") {
  const std::string data(24, 'x');
  const json a = entry("F32", {2, 3}, 0, 24);
  const auto with = [&](const json& header) { return file_bytes(header.dump(), data); };
  const uint64_t half = uint64_t{1} << 63;
  std::string deep(100, '[');
  struct Row {
    std::string fault, bytes, message;
  };
  const std::vector<Row> rows = {
      {"empty file", "", "0 bytes"},
      {"shorter than the length", "1234567", "7 bytes"},
      {"header longer than the file", file_bytes("{}", "").substr(0, 8) + "{",
       "a header of 2 bytes"},
      {"header of 2^63 bytes", std::string("\0\0\0\0\0\0\0\x80", 8) + "{}",
       "a header of 9223372036854775808 bytes"},
      {"not JSON", file_bytes("{\"a\":", data), "not JSON"},
      {"no text", file_bytes("\xff\xfe{}", data), "not JSON"},
      {"an array", file_bytes("[]", ""), "not a JSON object"},
      {"JSON depth bomb", file_bytes(deep, ""), "nested more than"},
      {"key twice", file_bytes("{\"a\":" + a.dump() + ",\"a\":" + a.dump() + "}", data),
       "duplicate key 'a'"},
      {"offsets twice",
       file_bytes(R"({"a":{"dtype":"F32","shape":[6],"data_offsets":[0,4],"data_offsets":[0,24]}})",
                  data),
       "duplicate key 'data_offsets'"},
      {"no object", with({{"a", 1}}), "a: want an object"},
      {"no dtype", with({{"a", {{"shape", {6}}, {"data_offsets", {0, 24}}}}}),
       "a: 'dtype' is missing"},
      {"unknown dtype", with({{"a", entry("F4", {24}, 0, 24)}}), "a: dtype 'F4'"},
      {"dtype of another kind",
       with({{"a", {{"dtype", 7}, {"shape", {6}}, {"data_offsets", {0, 24}}}}}), "a: 'dtype'"},
      {"no shape", with({{"a", {{"dtype", "F32"}, {"data_offsets", {0, 24}}}}}), "a: want shape"},
      {"no offsets", with({{"a", {{"dtype", "F32"}, {"shape", {6}}}}}),
       "a: want shape and data_offsets"},
      {"negative extent", with({{"a", entry("F32", {-2, 3}, 0, 24)}}),
       "a: shape: want a non-negative integer, got -2"},
      {"fractional extent",
       with({{"a", {{"dtype", "F32"}, {"shape", {1.5}}, {"data_offsets", {0, 24}}}}}), "got 1.5"},
      {"text as extent",
       with({{"a", {{"dtype", "F32"}, {"shape", {"6"}}, {"data_offsets", {0, 24}}}}}),
       "got string"},
      {"overflowing shape", with({{"a", entry("F32", {int64_t{1} << 62, 16}, 0, 24)}}),
       "a: shape is too large"},
      {"shape that wraps to 24 bytes",
       with({{"a", {{"dtype", "U8"}, {"shape", {half + 12, 2}}, {"data_offsets", {0, 24}}}}}),
       "a: shape is too large"},
      {"overflow beside a zero",
       with({{"a", entry("F32", {0, int64_t{1} << 40, int64_t{1} << 40}, 0, 0)}}),
       "a: shape is too large"},
      {"nine dimensions", with({{"a", entry("F32", {1, 1, 1, 1, 1, 1, 1, 1, 6}, 0, 24)}}),
       "a: shape: want at most 8"},
      {"one offset", with({{"a", {{"dtype", "F32"}, {"shape", {6}}, {"data_offsets", {24}}}}}),
       "a: data_offsets: want two"},
      {"offsets reversed", with({{"a", entry("F32", {6}, 24, 0)}}), "a: bytes 24 … 0"},
      {"past the end", with({{"a", entry("F32", {8}, 0, 32)}}), "a: bytes 0 … 32 are outside"},
      {"offset near 2^64", with({{"a", entry("F32", {6}, ~uint64_t{0} - 24, ~uint64_t{0})}}),
       "a: bytes"},
      {"range too short", with({{"a", entry("F32", {2, 3}, 0, 20)}}),
       "a: (2, 3) float32 wants 24 bytes"},
      {"range too long", with({{"a", entry("F16", {6}, 0, 24)}}), "a: (6) float16 wants 12 bytes"},
      {"overlap", with({{"a", entry("F32", {4}, 0, 16)}, {"b", entry("F32", {4}, 8, 24)}}),
       "b overlaps"},
      {"the same bytes twice", with({{"a", a}, {"b", a}}), "overlaps"},
      {"gap", with({{"a", entry("F32", {2}, 0, 8)}, {"b", entry("F32", {2}, 16, 24)}}),
       "8 bytes before b"},
      {"bytes at the end", with({{"a", entry("F32", {5}, 0, 20)}}), "4 bytes at the end"},
      {"no tensors but bytes", with(json::object()), "24 bytes at the end"},
      {"metadata that is a list", with({{"a", a}, {"__metadata__", json::array()}}),
       "__metadata__"},
      {"metadata that is a number", with({{"a", a}, {"__metadata__", {{"format", 1}}}}),
       "'format': want a string"},
  };
  const TemporaryDirectory directory;
  for (const Row& row : rows) {
    INFO(row.fault);
    const fs::path path = directory.write("bad.safetensors", row.bytes);
    CHECK_THROWS_NAMING(SafetensorsFile(path), FormatError, row.message);
    CHECK_THROWS_NAMING(SafetensorsFile(path), FormatError, "bad.safetensors");
  }
  CHECK_NOTHROW(SafetensorsFile(directory.write("good", with({{"a", a}}))));
  CHECK_NOTHROW(SafetensorsFile(directory.write("none", file_bytes("{}", ""))));
}

TEST_CASE("a safetensors file of 50,000 tensors took a minute and a half to open") {
  const TemporaryDirectory directory;
  const fs::path path = directory.path() / "many.safetensors";
  std::vector<Slot> slots;
  for (int i = 0; i < 50000; ++i) slots.push_back({std::to_string(i), at::kFloat, {0}});
  const std::clock_t start = std::clock();
  SafetensorsWriter writer(path, slots);
  for (const Slot& slot : slots) writer.write(slot.name, at::empty({0}));
  writer.finish();
  CHECK(SafetensorsFile(path).tensors().size() == slots.size());
  CHECK(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC < 20);
}

TEST_CASE("dtypes that no weight has may stand in a file") {
  const TemporaryDirectory directory;
  for (const auto& [word, values] : std::map<std::string, int64_t>{{"F8_E4M3", 24},
                                                                   {"F8_E5M2", 24},
                                                                   {"F8_E8M0", 24},
                                                                   {"U16", 12},
                                                                   {"U32", 6},
                                                                   {"U64", 3}}) {
    const std::string header = json{{"a", entry(word, {values}, 0, 24)}}.dump();
    const SafetensorsFile file(
        directory.write("x.safetensors", file_bytes(header, std::string(24, '\1'))));
    CHECK(file.read("a").numel() == values);
  }
}

TEST_CASE("a header of millions of values is refused before it takes gigabytes") {
  std::string header = R"({"a":[0)";
  for (int i = 0; i < 8000000; ++i) header += ",0";
  const TemporaryDirectory directory;
  const fs::path path = directory.write("bad.safetensors", file_bytes(header + "]}", ""));
  CHECK_THROWS_NAMING(SafetensorsFile(path), FormatError,
                      "bad.safetensors: JSON of 8000003 values, want at most 8000000");
}

TEST_CASE("a file that cannot be read, or lacks the tensor, is refused by name") {
  const TemporaryDirectory directory;
  CHECK_THROWS_NAMING(SafetensorsFile(directory.path() / "none"), FormatError,
                      "none: No such file");
  CHECK_THROWS_NAMING(SafetensorsFile(directory.path()), FormatError, "not a regular file");
  const SafetensorsFile file(
      directory.write("x", file_bytes(json{{"a", entry("BOOL", {2}, 0, 2)}}.dump(), "\1\2")));
  CHECK_THROWS_NAMING(file.read("b"), FormatError, "no tensor is called b");
  CHECK_THROWS_NAMING(file.read("a"), FormatError, "a: a BOOL is neither 0 nor 1");
}

TEST_CASE("mutated safetensors files are read or refused, never worse") {
  const json header = {{"__metadata__", {{"format", "pt"}}},
                       {"a", entry("F32", {2, 3}, 0, 24)},
                       {"b", entry("BF16", {4}, 24, 32)},
                       {"c", entry("BOOL", {2}, 32, 34)}};
  const std::string good = file_bytes(header.dump(), std::string(34, '\1'));
  REQUIRE(reads_whole<SafetensorsFile>(good));
  std::mt19937_64 random(1);
  int refused = 0;
  for (int i = 0; i < 4000; ++i) refused += !reads_whole<SafetensorsFile>(mutated(good, random));
  CHECK(refused > 2000);
  CHECK(refused < 4000);
}

}  // namespace
}  // namespace slice
