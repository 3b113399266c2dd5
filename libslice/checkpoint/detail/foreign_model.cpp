#include "libslice/checkpoint/detail/foreign_model.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <vector>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/file.h"
#include "libslice/base/detail/json.h"
#include "libslice/base/detail/python_json.h"

namespace slice::detail {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

/// A directory's names, sorted.
struct Listing {
  std::vector<std::string> files, folders;

  explicit Listing(const fs::path& directory) {
    std::error_code error;
    for (auto entry = fs::directory_iterator(directory, error);
         !error && entry != fs::directory_iterator(); entry.increment(error)) {
      std::error_code ignored;
      (entry->is_directory(ignored) ? folders : files).push_back(entry->path().filename().string());
    }
    std::sort(files.begin(), files.end());
    std::sort(folders.begin(), folders.end());
  }
  bool has(const std::string& file) const {
    return std::binary_search(files.begin(), files.end(), file);
  }
  /// The first file that begins and ends so; empty without one.
  std::string first(const std::string& begin, const std::string& end) const {
    const auto found = std::find_if(files.begin(), files.end(), [&](const std::string& file) {
      return file.starts_with(begin) && file.ends_with(end);
    });
    return found == files.end() ? "" : *found;
  }
};

std::string adapter(const fs::path& directory) {
  std::string base;
  try {
    const fs::path file = directory / "adapter_config.json";
    const json object = parse_python_json(read_text_file(file, size_t{1} << 20), file.string());
    if (const auto name = find_field<std::string>(object, "base_model_name_or_path", ""))
      base = " of " + *name;
  } catch (const FormatError&) {  // what it says helps, and is not needed
  }
  return "this is a LoRA adapter" + base +
         " (adapter_config.json): merge it into that model (PEFT's merge_and_unload) and save the "
         "result";
}

std::string gguf_files(const fs::path& directory, const Listing& list) {
  const auto count = std::count_if(list.files.begin(), list.files.end(),
                                   [](const auto& file) { return file.ends_with(".gguf"); });
  const std::string first = (directory / list.first("", ".gguf")).string();
  if (count == 1) return "it holds a GGUF file: give that, " + first;
  return formatted("it holds {} GGUF files: give one of them, such as {}", count, first);
}

/// A folder inside that holds a config.json: a snapshot of the hub's cache, a training checkpoint.
std::string model_inside(const fs::path& directory, const Listing& list) {
  std::error_code ignored;
  for (const std::string& folder : list.folders) {
    const fs::path inside = directory / folder;
    if (fs::exists(inside / "config.json", ignored))
      return "the model is in a folder inside: give that, " + inside.string();
    if (folder != "snapshots") continue;
    for (const std::string& snapshot : Listing(inside).folders) {
      if (fs::exists(inside / snapshot / "config.json", ignored))
        return "this is the hub's cache: give the snapshot, " + (inside / snapshot).string();
    }
  }
  return "";
}

std::string pickled(const Listing& list) {
  for (const auto& [begin, end] : {std::pair{"pytorch_model", ".bin"},
                                   {"pytorch_model", ".bin.index.json"},
                                   {"", ".pth"},
                                   {"", ".pt"},
                                   {"", ".ckpt"},
                                   {"model", ".bin"}}) {
    if (const std::string file = list.first(begin, end); !file.empty()) {
      return file +
             " is of PyTorch's pickled weights, which run code when they are read: load them in "
             "Transformers and save_pretrained() them, which writes safetensors";
    }
  }
  return "";
}

/// What a directory that is no model of ours holds, and what to do about it; empty where neither is
/// known.
std::string directory_kind(const fs::path& directory) {
  const Listing list(directory);
  if (list.has("adapter_config.json")) return adapter(directory);
  if (!list.first("", ".gguf").empty()) return gguf_files(directory, list);
  if (list.has("params.json") || !list.first("consolidated", "").empty()) {
    return "this is the original form of Meta's or Mistral's (params.json, consolidated.*): "
           "download the Hugging Face form of the model, or convert it with Transformers' script "
           "for its family (convert_llama_weights_to_hf.py)";
  }
  if (std::string kind = pickled(list); !kind.empty()) return kind;
  for (const char* file : {"tf_model.h5", "flax_model.msgpack", "model.ckpt.index"}) {
    if (list.has(file))
      return std::string(file) +
             " is of TensorFlow or Flax: load it in Transformers and save_pretrained() it";
  }
  if (const std::string file = list.first("model-", ".safetensors"); !file.empty())
    return file + " is one of several, without their model.safetensors.index.json: download that";
  if (const std::string file = list.first("", ".safetensors"); !file.empty())
    return "it holds " + file + ": if that is the whole model, call it model.safetensors";
  return model_inside(directory, list);
}

/// Whether a path looks like "organisation/model".
bool hub_name(const std::string& path) {
  const auto plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.' ||
           c == '/';
  };
  return std::count(path.begin(), path.end(), '/') == 1 && path.front() != '/' &&
         path.front() != '.' && path.back() != '/' && std::all_of(path.begin(), path.end(), plain);
}

}  // namespace

void refuse_missing(const fs::path& path, const std::error_code& error) {
  const std::string text = path.string();
  const std::string reason = error ? error.message() : "no such file or directory";
  SLICE_FORMAT_CHECK(
      !hub_name(text),
      "{}: {}; if this is a model's name on the Hugging Face hub, download it first ('hf download "
      "{} --local-dir DIR') and give that directory",
      text, reason, text);
  throw FormatError(formatted("{}: {}", text, reason));
}

void refuse_directory(const fs::path& directory, const std::string& missing) {
  const std::string file = (directory / missing).string();
  std::error_code ignored;
  SLICE_FORMAT_CHECK(!fs::is_symlink(fs::symlink_status(directory / missing, ignored)),
                     "{}: a link to a file that is not there: was the download complete?", file);
  const std::string kind = directory_kind(directory);
  throw FormatError(
      formatted("{}: No such file or directory{}{}", file, kind.empty() ? "" : ": ", kind));
}

void refuse_quantised(const std::string& config, const std::string& origin) {
  const json object = parse_python_json(config, origin);
  if (!object.is_object()) return;
  for (const char* key : {"quantization_config", "compression_config", "quantization"}) {
    const auto found = object.find(key);
    if (found == object.end() || found->is_null()) continue;
    std::string method;
    if (found->is_object() && found->contains("quant_method") &&
        (*found)["quant_method"].is_string())
      method = (*found)["quant_method"].get<std::string>();
    if (method.empty() && std::string(key) == "quantization") method = "mlx";
    throw FormatError(
        formatted("{}: quantised{}{} ({}), which is not supported: want the "
                  "unquantised model, or a GGUF file",
                  origin, method.empty() ? "" : " by ", method, key));
  }
}

}  // namespace slice::detail
