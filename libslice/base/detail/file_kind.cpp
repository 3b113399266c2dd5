#include "libslice/base/detail/file_kind.h"

#include <cstdint>
#include <cstring>
#include <string_view>

namespace slice::detail {
namespace {

struct Magic {
  std::string_view bytes;
  const char* kind;
  size_t at = 0;
};

constexpr const char* kPickled =
    "PyTorch's pickled weights, which run code when they are read: load them in Transformers and "
    "save_pretrained() them, which writes safetensors";
constexpr const char* kBeforeGguf =
    "a file of llama.cpp from before GGUF: download the model as GGUF, or convert it with "
    "llama.cpp's convert_llama_ggml_to_gguf.py";
constexpr const char* kPacked = "a compressed file: unpack it";
constexpr const char* kPage = "a web page: the download went wrong";

// ggml's magic numbers are little-endian: "ggjt" is stored as "tjgg". A llama2.c file has no magic
// number: it begins with its hidden size, whose third byte is zero.
constexpr Magic kMagics[] = {
    {"GGUF", "a GGUF file"},
    {"lmgg", kBeforeGguf},
    {"fmgg", kBeforeGguf},
    {"tjgg", kBeforeGguf},
    {"algg", "a LoRA adapter of llama.cpp: merge it into its model"},
    {"PK\3\4", kPickled},
    {"\x80\x02\x8a", kPickled},
    {"\x80\x02}", kPickled},
    {"\x80\x04\x95", kPickled},
    {"\x1f\x8b\x08", kPacked},
    {"BZh", kPacked},
    {"\xfd\x37zXZ", kPacked},
    {"\x28\xb5\x2f\xfd", kPacked},
    {"7z\xbc\xaf", kPacked},
    {"ustar", "a tar archive: unpack it", 257},
    {"\x89HDF", "an HDF5 file (Keras): load it in Transformers and save_pretrained() it"},
    {"\x7f"
     "ELF",
     "a program, not a model"},
    {"<!DOCTYPE", kPage},
    {"<!doctype", kPage},
    {"<html", kPage},
};

/// Whether a file of `size` bytes begins as safetensors do: the header's length, then a JSON object.
bool is_safetensors(std::string_view bytes, uint64_t size) {
  uint64_t header = 0;
  if (bytes.size() <= sizeof header || bytes[sizeof header] != '{') return false;
  std::memcpy(&header, bytes.data(), sizeof header);
  return header >= 2 && header <= size - sizeof header;
}

}  // namespace

std::string file_kind(const InputFile& file) {
  const std::string head = file.head();
  const std::string_view text = head;
  if (text.empty()) return "an empty file: the download went wrong";
  if (is_safetensors(text, file.size()))
    return "a safetensors file: want the directory that holds it and its config.json";
  for (const Magic& magic : kMagics) {
    if (text.size() >= magic.at && text.substr(magic.at).starts_with(magic.bytes))
      return magic.kind;
  }
  if (text.size() > 2 && text[0] == '{' && text[2] != '\0')
    return "a JSON file: want the directory that holds it";
  return "";
}

}  // namespace slice::detail
