#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <functional>
#include <nlohmann/json.hpp>

#include "libslice/base/error.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/model/config_json.h"
#include "libslice/text/tokenizer.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tensor_file.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

namespace fs = std::filesystem;
using namespace tests;

std::string pointer() {
  return "version https://git-lfs.github.com/spec/v1\noid sha256:" + std::string(64, 'a') +
         "\nsize 1234567\n";
}

TEST_CASE("a directory that is no model says what it is and what to do") {
  struct Row {
    std::vector<std::string> words;
    std::function<void(const TemporaryDirectory&)> make;
  };
  const auto config = [](const TemporaryDirectory& d) {
    d.write("config.json", config_json(tiny_config(), "float32"));
  };
  const std::vector<Row> rows = {
      {{"LoRA adapter of org/base", "merge"},
       [](auto& d) {
         d.write("adapter_config.json", R"({"base_model_name_or_path": "org/base"})");
         d.write("adapter_model.safetensors", "");
       }},
      {{"LoRA adapter (", "merge"},
       [&](auto& d) { config(d), d.write("adapter_config.json", "{"); }},
      {{"params.json", "convert"},
       [](auto& d) { d.write("params.json", "{}"), d.write("consolidated.00.pth", "PK\3\4"); }},
      {{"pytorch_model.bin is", "save_pretrained"},
       [&](auto& d) { config(d), d.write("pytorch_model.bin", "PK\3\4"); }},
      {{"pytorch_model.bin.index.json is", "pickled"},
       [&](auto& d) { config(d), d.write("pytorch_model.bin.index.json", "{}"); }},
      {{"GGUF", "one.gguf"}, [](auto& d) { d.write("one.gguf", "GGUF"); }},
      {{"2 GGUF files", "a.gguf"},
       [](auto& d) { d.write("b.gguf", "GGUF"), d.write("a.gguf", "GGUF"); }},
      {{"tf_model.h5", "save_pretrained"}, [&](auto& d) { config(d), d.write("tf_model.h5", ""); }},
      {{"index.json: download that"},
       [&](auto& d) { config(d), d.write("model-00001-of-00002.safetensors", ""); }},
      {{"weights.safetensors", "call it model.safetensors"},
       [&](auto& d) { config(d), d.write("weights.safetensors", ""); }},
      {{"give the snapshot", "snapshots/abc"},
       [](auto& d) {
         fs::create_directories(d.path() / "snapshots/abc");
         d.write("snapshots/abc/config.json", "{}");
       }},
      {{"folder inside", "checkpoint-500"},
       [](auto& d) {
         fs::create_directories(d.path() / "checkpoint-500");
         d.write("checkpoint-500/config.json", "{}");
       }},
      {{"a link to a file that is not there"},
       [&](auto& d) { config(d), fs::create_symlink("nowhere", d.path() / "model.safetensors"); }},
      {{"model.safetensors: a Git LFS pointer", "git lfs pull"},
       [&](auto& d) { config(d), d.write("model.safetensors", pointer()); }},
      {{"config.json: a Git LFS pointer"}, [](auto& d) { d.write("config.json", pointer()); }},
      {{"model.safetensors: want a safetensors file, this is a web page"},
       [&](auto& d) { config(d), d.write("model.safetensors", "<!DOCTYPE html><html>"); }},
      {{"quantised by gptq", "quantization_config"},
       [](auto& d) {
         auto object = nlohmann::json::parse(config_json(tiny_config(), "float16"));
         object["quantization_config"] = {{"quant_method", "gptq"}, {"bits", 4}};
         d.write("config.json", object.dump());
       }},
      {{"quantised by mlx", "unquantised"}, [](auto& d) {
         auto object = nlohmann::json::parse(config_json(tiny_config(), "float16"));
         object["quantization"] = {{"group_size", 64}, {"bits", 4}};
         d.write("config.json", object.dump());
       }}};
  for (const Row& row : rows) {
    const TemporaryDirectory directory;
    row.make(directory);
    for (const std::string& word : row.words) {
      CAPTURE(word);
      CHECK_THROWS_NAMING(open_checkpoint(directory.path()), FormatError, word);
    }
  }
}

TEST_CASE("a file that is no model says what it is and what to do") {
  struct Row {
    std::string name, bytes, words;
  };
  const std::string header = R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})";
  const std::vector<Row> rows = {
      {"x.gguf", pointer(), "a Git LFS pointer"},
      {"x.gguf", "tjgg" + std::string(40, '\1'), "from before GGUF"},
      {"x.bin", "lmgg" + std::string(40, '\1'), "from before GGUF"},
      {"x.bin", "PK\3\4" + std::string(40, '\1'), "pickled weights"},
      {"x.pth", "\x80\x02\x8a\x0a" + std::string(40, '\1'), "pickled weights"},
      {"x.gguf", "\x1f\x8b\x08" + std::string(40, '\1'), "unpack it"},
      {"x.gguf", "<html><body>404", "web page"},
      {"x.bin", "", "an empty file"},
      {"x.safetensors", GgufWriter::packed(uint64_t{header.size()}) + header, "want the directory"},
      {"model.safetensors.index.txt", R"({"weight_map": {}})", "a JSON file"},
      {"x.gguf", "GGUF" + std::string("\0\0\0\3", 4) + std::string(40, '\0'), "big-endian"},
      {"x.gguf", "GGUF" + std::string("\1\0\0\0", 4) + std::string(40, '\0'), "convert the model"}};
  for (const Row& row : rows) {
    CAPTURE(row.name, row.words);
    const TemporaryDirectory directory;
    CHECK_THROWS_NAMING(open_checkpoint(directory.write(row.name, row.bytes)), FormatError,
                        row.words);
  }
}

TEST_CASE("a llama2.c model whose size looks like a pickle's magic is still one") {
  // Hidden sizes 640 and 123: the bytes 80 02 00 00 and 7b 00 00 00.
  for (const auto& [size, word] : {std::pair<int32_t, const char*>{640, "bytes"}, {123, "odd"}}) {
    const int32_t header[7] = {size, 6, 1, 1, 1, 5, 3};
    std::string bytes(reinterpret_cast<const char*>(header), sizeof header);
    const TemporaryDirectory directory;
    CHECK_THROWS_NAMING(open_checkpoint(directory.write("x.bin", bytes)), FormatError, word);
    try {
      open_checkpoint(directory.path() / "x.bin");
    } catch (const FormatError& error) {
      CHECK(std::string(error.what()).find("this is") == std::string::npos);
    }
  }
}

TEST_CASE("a model's name on the hub is told from a path") {
  CHECK_THROWS_NAMING(open_checkpoint("some-org/Model-1.5_x"), FormatError,
                      "hf download some-org/Model-1.5_x");
  for (const std::string path : {"nothing", "./some/model", "/some/model", "a/b/c", "a b/c"}) {
    CHECK_THROWS_NAMING(open_checkpoint(path), FormatError, path + ": ");
    try {
      open_checkpoint(path);
    } catch (const FormatError& error) {
      CHECK(std::string(error.what()).find("download") == std::string::npos);
    }
  }
}

TEST_CASE("a tokenizer's files are told from Git LFS pointers too") {
  for (const std::string name : {"tokenizer.json", "tokenizer.model", "vocab.json"}) {
    const TemporaryDirectory directory;
    directory.write("merges.txt", "");
    directory.write(name, pointer());
    CHECK_THROWS_NAMING(load_tokenizer(directory.path()), FormatError,
                        name + ": a Git LFS pointer");
  }
}

}  // namespace
}  // namespace slice
