#include "libslice/format/gguf.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <cmath>
#include <functional>
#include <random>

#include "libslice/base/error.h"
#include "libslice/format/safetensors.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/hostile_bytes.h"
#include "tests/support/matchers.h"
#include "tests/support/places.h"
#include "tests/support/temporary_directory.h"

namespace slice {
namespace {

namespace fs = std::filesystem;
using at::Tensor;
using namespace tests;
using W = GgufWriter;

std::string random_bytes(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

/// IEEE binary16 by its definition.
float half_value(uint16_t bits) {
  const int sign = bits >> 15, exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double size =
      exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return static_cast<float>(sign ? -size : size);
}

/// Oracle of the block formats: one value at a time, from the definition in ggml-quants.c.
struct Format {
  const char* name;
  uint32_t type;
  size_t block_bytes;
  float (*value)(const uint8_t* block, int i);
};

uint16_t half_at(const uint8_t* bytes) { return static_cast<uint16_t>(bytes[0] | bytes[1] << 8); }
int nibble(const uint8_t* bytes, int i) { return i < 16 ? bytes[i] % 16 : bytes[i - 16] / 16; }

const Format kFormats[] = {
    {"Q4_0", W::kTypeQ4_0, 18,
     [](const uint8_t* b, int i) {
       return half_value(half_at(b)) * static_cast<float>(nibble(b + 2, i) - 8);
     }},
    {"Q4_1", W::kTypeQ4_1, 20,
     [](const uint8_t* b, int i) {
       const float product = half_value(half_at(b)) * static_cast<float>(nibble(b + 4, i));
       return product + half_value(half_at(b + 2));
     }},
    {"Q8_0", W::kTypeQ8_0, 34,
     [](const uint8_t* b, int i) {
       return half_value(half_at(b)) * static_cast<float>(static_cast<int8_t>(b[2 + i]));
     }},
};

TEST_CASE("quantised tensors equal the definition of their format, to the bit") {
  for (const Format& format : kFormats) {
    INFO(format.name);
    const int64_t rows = 70, blocks = 37;  // more than one thread's share
    std::string bytes = random_bytes(rows * blocks * format.block_bytes, format.type);
    for (size_t at = 0; at < bytes.size();
         at += format.block_bytes) {  // no Inf or NaN among the scales
      if ((bytes[at + 1] & 0x7c) == 0x7c) bytes[at + 1] = 0x3c;
      if (format.type == W::kTypeQ4_1 && (bytes[at + 3] & 0x7c) == 0x7c) bytes[at + 3] = 0x3c;
    }
    Tensor want = at::empty({rows, blocks * 32});
    for (int64_t block = 0; block < rows * blocks; ++block) {
      const auto* from =
          reinterpret_cast<const uint8_t*>(bytes.data()) + block * format.block_bytes;
      for (int i = 0; i < 32; ++i)
        want.mutable_data_ptr<float>()[block * 32 + i] = format.value(from, i);
    }
    W writer;
    writer.tensor("in front", {3}, W::kTypeF32, std::string(12, '\0'));
    writer.tensor("t", {rows, blocks * 32}, format.type, bytes);
    const TemporaryDirectory directory;
    const GgufFile file(directory.write("x.gguf", writer.bytes()));
    CHECK(GgufFile::quantised(file.tensors().at("t").type));
    CHECK(GgufFile::read_dtype(file.tensors().at("t").type) == at::kFloat);
    CHECK(bit_difference(file.read("t"), want) == "");
    CHECK(bit_difference(file.read("t"), want) == "");
  }
}

TEST_CASE("every quantised type gives the values of the gguf package, to the bit") {
  const SafetensorsFile golden(tests::data_directory() / "ggml_quants.safetensors");
  const std::pair<const char*, uint32_t> types[] = {
      {"Q4_0", 2},  {"Q4_1", 3},  {"Q5_0", 6},  {"Q5_1", 7},  {"Q8_0", 8},
      {"Q2_K", 10}, {"Q3_K", 11}, {"Q4_K", 12}, {"Q5_K", 13}, {"Q6_K", 14}};
  for (const auto& [name, type] : types) {
    INFO(name);
    const Tensor bytes = golden.read(std::string(name) + ".bytes"),
                 values = golden.read(std::string(name) + ".values");
    W writer;
    writer.tensor(
        "t", values.sizes().vec(), type,
        {static_cast<const char*>(bytes.const_data_ptr()), static_cast<size_t>(bytes.numel())});
    const TemporaryDirectory directory;
    const GgufFile file(directory.write("x.gguf", writer.bytes()));
    CHECK(GgufFile::quantised(static_cast<int32_t>(type)));
    CHECK(bit_difference(file.read("t"), values) == "");
  }
}

TEST_CASE("unquantised tensors keep their dtype, bits and row-major shape") {
  const TemporaryDirectory directory;
  const std::pair<at::ScalarType, uint32_t> kinds[] = {
      {at::kFloat, 0}, {at::kHalf, 1}, {at::kBFloat16, 30}};
  for (const auto& [dtype, type] : kinds) {
    const Tensor tensor = at::randn({2, 3, 5}).to(dtype);
    W writer;
    writer.tensor(
        "t", {2, 3, 5}, type,
        {static_cast<const char*>(tensor.const_data_ptr()), static_cast<size_t>(tensor.nbytes())});
    const GgufFile file(directory.write("x.gguf", writer.bytes()));
    CHECK(file.tensors().at("t").shape == std::vector<int64_t>{2, 3, 5});
    CHECK_FALSE(GgufFile::quantised(static_cast<int32_t>(type)));
    CHECK(bit_difference(file.read("t"), tensor) == "");
  }
}

TEST_CASE("metadata is read as the type asked for where that loses nothing") {
  W writer;
  writer.version = 2;
  writer.value("u8", 0, uint8_t{200});
  writer.value("i8", 1, int8_t{-3});
  writer.value("u16", 2, uint16_t{60000});
  writer.value("i16", 3, int16_t{-300});
  writer.number("u32", 4000000000u);
  writer.value("i32", 5, int32_t{-70000});
  writer.real("f32", 0.5f);
  writer.flag("flag", true);
  writer.text("text", "é\n");
  writer.value("u64", 10, ~uint64_t{0});
  writer.value("i64", 11, int64_t{-5});
  writer.value("f64", 12, 1e-300);
  writer.texts("texts", {"", "a"});
  writer.numbers("numbers", {-1, 7});
  writer.texts("none", {});
  const TemporaryDirectory directory;
  const GgufFile file(directory.write("x.gguf", writer.bytes()));
  CHECK(file.get<int64_t>("u8") == 200);
  CHECK(file.get<int64_t>("i8") == -3);
  CHECK(file.get<int64_t>("u16") == 60000);
  CHECK(file.get<int64_t>("i16") == -300);
  CHECK(file.get<int64_t>("u32") == 4000000000);
  CHECK(file.get<double>("i32") == -70000);
  CHECK(file.get<double>("f32") == 0.5);
  CHECK(file.get<bool>("flag"));
  CHECK(file.get<std::string>("text") == "é\n");
  CHECK(file.get<int64_t>("i64") == -5);
  CHECK(file.get<double>("f64") == 1e-300);
  CHECK(file.get<std::vector<std::string>>("texts") == std::vector<std::string>{"", "a"});
  CHECK(file.get<std::vector<int64_t>>("numbers") == std::vector<int64_t>{-1, 7});
  CHECK(file.get<std::vector<double>>("numbers") == std::vector<double>{-1, 7});
  CHECK(file.get<std::vector<int64_t>>("none").empty());
  CHECK(file.get<int64_t>("missing", 9) == 9);
  CHECK(file.get<int64_t>("u8", 9) == 200);
  CHECK_THROWS_NAMING(file.get<int64_t>("missing"), FormatError, "missing is missing");
  CHECK_THROWS_NAMING(file.get<int64_t>("u64"), FormatError, "u64: want an integer");
  CHECK_THROWS_NAMING(file.get<int64_t>("f32"), FormatError, "f32: want an integer");
  CHECK_THROWS_NAMING(file.get<int64_t>("flag"), FormatError, "flag");
  CHECK_THROWS_NAMING(file.get<bool>("u8"), FormatError, "u8: want a boolean");
  CHECK_THROWS_NAMING(file.get<std::string>("texts"), FormatError, "texts: want a string");
  CHECK_THROWS_NAMING(file.get<std::vector<std::string>>("numbers", {}), FormatError,
                      "numbers: want a list of strings");
}

TEST_CASE("an alignment of the file's own is kept to") {
  W writer;
  writer.alignment = 128;
  writer.number("general.alignment", 128);
  writer.tensor("a", {1}, W::kTypeF32, W::packed(1.5f));
  writer.tensor("b", {1}, W::kTypeF32, W::packed(2.5f));
  const TemporaryDirectory directory;
  const GgufFile file(directory.write("x.gguf", writer.bytes()));
  CHECK(file.tensors().at("b").begin % 128 == 0);
  CHECK(file.read("b").item<float>() == 2.5f);
}

TEST_CASE("malformed GGUF files are refused, naming the file and what is wrong") {
  const std::string four(16, '\0');
  struct Row {
    std::string message;
    std::function<void(W&)> make;
  };
  const int64_t wide = int64_t{1} << 40;
  const std::vector<Row> rows = {
      {"not a GGUF", [](W& w) { w.magic = "GGML"; }},
      {"version 1 ", [](W& w) { w.version = 1; }},
      {"version 4 ", [](W& w) { w.version = 4; }},
      {"big-endian", [](W& w) { w.version = 3u << 24; }},
      {"metadata key", [](W& w) { w.extra_pairs = 1; }},
      {"metadata key", [](W& w) { w.extra_pairs = ~uint64_t{0}; }},
      {"tensor name", [](W& w) { w.extra_tensors = uint64_t{1} << 60; }},
      {"duplicate metadata key k", [](W& w) { w.number("k", 1), w.number("k", 2); }},
      {"key of 0 bytes", [](W& w) { w.number("", 1); }},
      {"key of 70000 bytes", [](W& w) { w.number(std::string(70000, 'k'), 1); }},
      {"k: value type 13 is unknown", [](W& w) { w.value("k", 13, 0); }},
      {"k: want a boolean, got 2", [](W& w) { w.value("k", W::kBool, uint8_t{2}); }},
      {"k: want 1000000000000 bytes",
       [](W& w) { w.value("k", W::kString, uint64_t{1000000000000}); }},
      {"k: want 18446744073709551615 bytes", [](W& w) { w.value("k", W::kString, ~uint64_t{0}); }},
      {"k: want 8000000000 bytes",
       [](W& w) {
         w.raw("k", W::kArray, W::packed(uint32_t{W::kU64}) + W::packed(uint64_t{1000000000}));
       }},
      {"k: 18446744073709551615 values are too many",
       [](W& w) { w.raw("k", W::kArray, W::packed(uint32_t{W::kU64}) + W::packed(~uint64_t{0})); }},
      {"k: nested arrays",
       [](W& w) {
         w.raw("k", W::kArray, W::packed(uint32_t{W::kArray}) + W::packed(uint64_t{1}));
       }},
      {"k: value type 99 is unknown",
       [](W& w) { w.raw("k", W::kArray, W::packed(uint32_t{99}) + W::packed(uint64_t{0})); }},
      {"k[0]: does not fit",
       [](W& w) {
         w.raw("k", W::kArray,
               W::packed(uint32_t{W::kU64}) + W::packed(uint64_t{1}) + W::packed(~uint64_t{0}));
       }},
      {"general.alignment", [](W& w) { w.number("general.alignment", 0); }},
      {"general.alignment", [](W& w) { w.number("general.alignment", 4); }},
      {"general.alignment", [](W& w) { w.number("general.alignment", 48); }},
      {"general.alignment", [](W& w) { w.text("general.alignment", "32"); }},
      {"duplicate tensor a",
       [&](W& w) { w.tensor("a", {4}, 0, four), w.tensor("a", {4}, 0, four); }},
      {"a: want 1 … 4 dimensions, got 0", [&](W& w) { w.tensor("a", {}, 0, four); }},
      {"a: want 1 … 4 dimensions, got 5",
       [&](W& w) {
         w.tensor("a", {1, 1, 1, 1, 4}, 0, four);
       }},
      {"a: dimension 0 of 0", [&](W& w) { w.tensor("a", {0}, 0, four); }},
      {"a: dimension 1 of 18446744073709551615",
       [&](W& w) {
         w.tensor("a", {-1, 4}, 0, four);
       }},
      {"a: dimension 1 of 1099511627776",
       [&](W& w) {
         w.tensor("a", {wide, wide}, 0, four);
       }},
      {"a: type Q8_K is not supported", [&](W& w) { w.tensor("a", {256}, 15, four); }},
      {"a: a row of 32 is not a multiple of Q6_K's block of 256",
       [&](W& w) { w.tensor("a", {32}, 14, four); }},
      {"a: type MXFP4 is not supported", [&](W& w) { w.tensor("a", {256}, 39, four); }},
      {"a: tensor type 77 is unknown", [&](W& w) { w.tensor("a", {4}, 77, four); }},
      {"a: tensor type -1 is unknown", [&](W& w) { w.tensor("a", {4}, ~0u, four); }},
      {"a: a row of 48 is not a multiple of Q4_1's block of 32",
       [&](W& w) {
         w.tensor("a", {2, 48}, W::kTypeQ4_1, std::string(60, '\0'));
       }},
      {"a: bytes 0 … 400", [&](W& w) { w.tensor("a", {100}, 0, four); }},
      {"b: bytes 4096 … 4112",
       [&](W& w) { w.tensor("a", {4}, 0, four), w.tensor_at("b", {4}, 0, 4096); }},
      {"b: offset 4 is not a multiple",
       [&](W& w) { w.tensor("a", {4}, 0, four), w.tensor_at("b", {1}, 0, 4); }},
      {"b: offset 18446744073709551584 is outside",
       [&](W& w) { w.tensor("a", {4}, 0, four), w.tensor_at("b", {100}, 0, ~uint64_t{31}); }},
      {"b overlaps a",
       [&](W& w) {
         w.tensor("a", {16}, 0, four + four + four + four), w.tensor_at("b", {4}, 0, 32);
       }},
      {"b overlaps a", [&](W& w) { w.tensor("a", {4}, 0, four), w.tensor_at("b", {4}, 0, 0); }},
  };
  const TemporaryDirectory directory;
  for (const Row& row : rows) {
    INFO(row.message);
    W writer;
    row.make(writer);
    const fs::path path = directory.write("bad.gguf", writer.bytes());
    CHECK_THROWS_NAMING(GgufFile(path), FormatError, row.message);
    CHECK_THROWS_NAMING(GgufFile(path), FormatError, "bad.gguf");
  }
  CHECK_NOTHROW(GgufFile(directory.write("good.gguf", W().bytes())));
}

W small_file() {
  W writer;
  writer.text("general.architecture", "llama");
  writer.number("llama.block_count", 2);
  writer.real("eps", 1e-5f);
  writer.flag("flag", true);
  writer.texts("tokens", {"a", "bb", ""});
  writer.numbers("types", {1, 2, 3});
  writer.tensor("a", {2, 4}, W::kTypeF32, std::string(32, '\1'));
  writer.tensor("b", {2, 64}, W::kTypeQ4_1, std::string(80, '\2'));
  writer.tensor("c", {32}, W::kTypeQ8_0, std::string(34, '\3'));
  return writer;
}

TEST_CASE("a file cut short anywhere is refused") {
  const std::string good = small_file().bytes();
  const size_t used = good.size() - 30;  // the last tensor ends there, the rest is padding
  REQUIRE(reads_whole<GgufFile>(good));
  for (size_t size = 0; size < used; ++size) {
    if (reads_whole<GgufFile>(good.substr(0, size)))
      FAIL("read at " << size << " bytes of " << used);
  }
  CHECK(reads_whole<GgufFile>(good.substr(0, used)));
}

TEST_CASE("mutated GGUF files are read or refused, never worse") {
  const std::string good = small_file().bytes();
  std::mt19937_64 random(2);
  int refused = 0;
  for (int i = 0; i < 6000; ++i) refused += !reads_whole<GgufFile>(mutated(good, random));
  CHECK(refused > 2000);
  CHECK(refused < 6000);
}

TEST_CASE("a tensor that is not there is refused by name") {
  const TemporaryDirectory directory;
  const GgufFile file(directory.write("x.gguf", small_file().bytes()));
  CHECK_THROWS_NAMING(file.read("z"), FormatError, "no tensor is called z");
  CHECK_THROWS_NAMING(GgufFile(directory.path() / "none.gguf"), FormatError,
                      "none.gguf: No such file");
}

}  // namespace
}  // namespace slice
