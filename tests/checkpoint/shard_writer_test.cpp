#include "libslice/checkpoint/shard_writer.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "libslice/base/detail/file.h"
#include "libslice/base/error.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/format/safetensors.h"
#include "tests/support/directory_contents.h"
#include "tests/support/matchers.h"
#include "tests/support/temporary_directory.h"

namespace slice {
namespace {

namespace fs = std::filesystem;
using at::Tensor;
using nlohmann::json;
using namespace tests;

json tiny_json() {
  return {{"model_type", "llama"},    {"hidden_size", 4},       {"num_hidden_layers", 1},
          {"num_attention_heads", 2}, {"intermediate_size", 6}, {"vocab_size", 5}};
}

std::map<std::string, Tensor> numbered_tensors() {
  std::map<std::string, Tensor> tensors;
  for (int i = 0; i < 9; ++i)
    tensors["t" + std::to_string(i)] = at::randn({i + 1, 100});  // 400·(i+1) bytes
  return tensors;
}

TEST_CASE("shards hold at most what was asked, under final names, and read back as one") {
  const auto tensors = numbered_tensors();
  for (const int64_t limit : {int64_t{1}, int64_t{2000}, int64_t{3600}, int64_t{1} << 40}) {
    CAPTURE(limit);
    const TemporaryDirectory directory;
    std::vector<ShardWriter::Slot> slots;
    for (const auto& [name, tensor] : tensors) slots.push_back({name, tensor.sizes().vec()});
    ShardWriter writer(directory.path(), slots, at::kFloat, limit);
    for (const auto& [name, tensor] : tensors) writer.write(name, tensor);
    writer.finish();
    directory.write("config.json", tiny_json().dump());
    const auto checkpoint = open_checkpoint(directory.path());
    CHECK(checkpoint->tensors().size() == tensors.size());
    for (const auto& [name, tensor] : tensors)
      CHECK(bit_difference(checkpoint->read(name), tensor) == "");

    const auto names = names_in(directory.path());
    const bool single = limit > 18000;
    CHECK(names.contains("model.safetensors") == single);
    CHECK(names.contains("model.safetensors.index.json") != single);
    if (limit == 1) CHECK(names.contains("model-00009-of-00009.safetensors"));
    for (const std::string& name : names) {
      if (!name.ends_with(".safetensors")) continue;
      const SafetensorsFile file(directory.path() / name);
      uint64_t bytes = 0;
      for (const auto& [tensor, entry] : file.tensors()) bytes += entry.end - entry.begin;
      CHECK((static_cast<int64_t>(bytes) <= limit || file.tensors().size() == 1));
    }
    if (single) continue;
    std::ifstream index(directory.path() / "model.safetensors.index.json");
    CHECK(json::parse(index)["metadata"]["total_size"] == 400 * 45);
  }
}

TEST_CASE("shards are resumed after any tensor, whatever was written after it") {
  const auto tensors = numbered_tensors();
  std::vector<ShardWriter::Slot> slots;
  for (const auto& [name, tensor] : tensors) slots.push_back({name, tensor.sizes().vec()});
  const auto write = [&](const fs::path& directory, int64_t begin, int64_t end, bool finishes) {
    ShardWriter writer(directory, slots, at::kFloat, 2000);
    if (begin > 0) writer.resume_after(begin);
    for (int64_t i = begin; i < end; ++i) writer.write(slots[i].name, tensors.at(slots[i].name));
    writer.sync();
    if (finishes) writer.finish();
  };
  const TemporaryDirectory whole;
  const auto count = static_cast<int64_t>(slots.size());
  write(whole.path(), 0, count, true);
  for (int64_t begin = 1; begin <= count; ++begin) {
    for (const int64_t further : {0, 1, 3}) {  // tensors that an earlier writer wrote after it
      CAPTURE(begin, further);
      const TemporaryDirectory directory;
      write(directory.path(), 0, std::min(begin + further, count), false);
      write(directory.path(), begin, count, true);
      CHECK(names_in(directory.path()) == names_in(whole.path()));
      for (const std::string& name : names_in(whole.path()))
        CHECK(detail::read_text_file(directory.path() / name) ==
              detail::read_text_file(whole.path() / name));
    }
  }
}

TEST_CASE("shards that are missing, short or other ones are not resumed") {
  const std::vector<ShardWriter::Slot> slots = {{"a", {50}}, {"b", {50}}, {"c", {50}}};
  const TemporaryDirectory directory;
  const auto resume = [&](int64_t tensors) {
    ShardWriter(directory.path(), slots, at::kFloat, 400).resume_after(tensors);
  };
  CHECK_THROWS_NAMING(resume(1), FormatError, "model-00001-of-00002.safetensors");
  CHECK_THROWS_NAMING(resume(2), Error, "model-00001-of-00002.safetensors: want a shard of");
  {
    ShardWriter writer(directory.path(), slots, at::kFloat, 400);
    writer.write("a", at::ones({50}));
  }
  CHECK_NOTHROW(resume(1));
  CHECK_THROWS_NAMING(resume(2), Error, "want a shard of");
  fs::resize_file(directory.path() / "model-00001-of-00002.safetensors", 250);
  CHECK_THROWS_NAMING(resume(1), Error, "bytes, got 250");
  directory.write("model-00001-of-00002.safetensors", std::string(1000, 'x'));
  CHECK_THROWS_NAMING(resume(1), Error, "is not that of the file to resume");
  CHECK_THROWS_NAMING(resume(4), Error, "want a shard of");
}

TEST_CASE("shards refuse tensors out of order, twice, too many or too few") {
  const TemporaryDirectory directory;
  const Tensor one = at::ones({1});
  CHECK_THROWS_NAMING(ShardWriter(directory.path(), {}, at::kFloat), ArgumentError,
                      "shards: want tensors");
  CHECK_THROWS_NAMING(ShardWriter(directory.path(), {{"a", {1}}, {"a", {1}}}, at::kFloat, 4),
                      ArgumentError, "duplicate tensor a");
  ShardWriter writer(directory.path(), {{"a", {1}}, {"b", {1}}}, at::kFloat, 4);
  CHECK_THROWS_NAMING(writer.write("b", one), ArgumentError, "want a next, got b");
  writer.write("a", one);
  CHECK_THROWS_NAMING(writer.finish(), Error, "not every tensor was written");
  CHECK_THROWS_NAMING(writer.write("b", at::ones({2})), ShapeError, "b: want (1), got (2)");
  writer.write("b", one);
  CHECK_THROWS_NAMING(writer.write("c", one), ArgumentError, "c comes after the last");
  CHECK_NOTHROW(writer.finish());
}

}  // namespace
}  // namespace slice
