#include "libslice/format/detail/gguf_part.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/format/detail/dequantise.h"
#include "libslice/format/detail/gguf_values.h"

namespace slice::detail {
namespace {

constexpr uint32_t kMostDimensions = 4;
constexpr uint64_t kLargestDimension = uint64_t{1} << 40;

/// One row of the tensor table. Its begin counts from the start of the data; end is begin + size.
std::pair<std::string, GgufFile::Entry> read_tensor_info(GgufReader& in) {
  std::string name = in.text("tensor name");
  const std::string where = in.path() + ": " + name;
  const auto dimensions = in.number<uint32_t>(name);
  SLICE_FORMAT_CHECK(dimensions >= 1 && dimensions <= kMostDimensions,
                     "{}: want 1 … {} dimensions, got {}", where, kMostDimensions, dimensions);
  GgufFile::Entry entry{};
  uint64_t values = 1;
  for (uint32_t i = 0; i < dimensions; ++i) {
    const auto extent = in.number<uint64_t>(name);
    SLICE_FORMAT_CHECK(extent >= 1 && extent <= kLargestDimension &&
                           !__builtin_mul_overflow(values, extent, &values) &&
                           values <= uint64_t{1} << 60,
                       "{}: dimension {} of {} is empty or too large", where, i, extent);
    entry.shape.push_back(static_cast<int64_t>(extent));
  }
  entry.type = in.number<int32_t>(name);
  const GgmlType& type = ggml_type(entry.type, where);
  SLICE_FORMAT_CHECK(entry.shape[0] % type.block_size == 0,
                     "{}: a row of {} is not a multiple of {}'s block of {}", where, entry.shape[0],
                     type.name, type.block_size);
  std::reverse(entry.shape.begin(), entry.shape.end());
  entry.begin = in.number<uint64_t>(name);
  const uint64_t bytes =
      values / static_cast<uint64_t>(type.block_size) * static_cast<uint64_t>(type.block_bytes);
  SLICE_FORMAT_CHECK(!__builtin_add_overflow(entry.begin, bytes, &entry.end),
                     "{}: offset {} is outside the file", where, entry.begin);
  return {std::move(name), std::move(entry)};
}

/// Turns offsets in the data, which begin at `data`, into offsets in the file. Without tensors
/// `data` may lie past the file's end.
void place_tensors(std::map<std::string, GgufFile::Entry>& entries, uint64_t data,
                   uint64_t alignment, uint64_t size, const std::string& path) {
  std::vector<std::pair<uint64_t, std::string>> order;
  for (auto& [name, entry] : entries) {
    SLICE_FORMAT_CHECK(entry.begin % alignment == 0,
                       "{}: {}: offset {} is not a multiple of the alignment {}", path, name,
                       entry.begin, alignment);
    SLICE_FORMAT_CHECK(
        data <= size && entry.end <= size - data,
        "{}: {}: bytes {} … {} of the data, which begins at {}, are outside the file's {}", path,
        name, entry.begin, entry.end, data, size);
    entry.begin += data;
    entry.end += data;
    order.emplace_back(entry.begin, name);
  }
  std::sort(order.begin(), order.end());
  for (size_t i = 1; i < order.size(); ++i) {
    SLICE_FORMAT_CHECK(entries.at(order[i - 1].second).end <= order[i].first, "{}: {} overlaps {}",
                       path, order[i].second, order[i - 1].second);
  }
}

void check_version(GgufReader& in) {
  constexpr char kMagic[4] = {'G', 'G', 'U', 'F'};
  const auto magic = in.number<std::array<char, 4>>("magic");
  SLICE_FORMAT_CHECK(std::equal(magic.begin(), magic.end(), kMagic), "{}: not a GGUF file",
                     in.path());
  const auto version = in.number<uint32_t>("version");
  SLICE_FORMAT_CHECK((version & 0xffff) != 0,
                     "{}: a big-endian GGUF is not supported: llama.cpp's "
                     "gguf_convert_endian.py turns it round",
                     in.path());
  SLICE_FORMAT_CHECK(version == 2 || version == 3,
                     "{}: GGUF version {} is not supported, want 2 or 3: {}", in.path(), version,
                     version < 2 ? "convert the model again, or download a later file"
                                 : "a later one than this program knows");
}

constexpr int kDigits = 5;  // NAME-00002-of-00003.gguf

/// The name without "-00002-of-00003.gguf" where it ends so, of any two numbers.
std::optional<std::string> split_stem(const std::string& name, int64_t number, int64_t count) {
  const std::string end = formatted("-{:0{}}-of-{:0{}}.gguf", number, kDigits, count, kDigits);
  if (!name.ends_with(end) || name.size() == end.size()) return std::nullopt;
  return name.substr(0, name.size() - end.size());
}

}  // namespace

std::optional<int64_t> GgufPart::number(const std::string& key) const {
  const auto found = metadata.find(key);
  if (found == metadata.end()) return std::nullopt;
  const auto* value = std::get_if<int64_t>(&found->second);
  SLICE_FORMAT_CHECK(value != nullptr, "{}: {}: want an integer", file->path().string(), key);
  return *value;
}

GgufPart read_gguf_part(const std::filesystem::path& path) {
  GgufPart part{.file = std::make_shared<InputFile>(path), .metadata = {}, .entries = {}};
  GgufReader in(*part.file);
  check_version(in);
  const auto tensors = in.number<uint64_t>("tensor count");
  const auto pairs = in.number<uint64_t>("metadata count");
  for (uint64_t i = 0; i < pairs; ++i) {
    auto [key, value] = read_gguf_pair(in);
    const auto [place, fresh] = part.metadata.emplace(std::move(key), std::move(value));
    SLICE_FORMAT_CHECK(fresh, "{}: duplicate metadata key {}", in.path(), place->first);
  }
  for (uint64_t i = 0; i < tensors; ++i) {
    auto [name, entry] = read_tensor_info(in);
    const auto [place, fresh] = part.entries.emplace(std::move(name), std::move(entry));
    SLICE_FORMAT_CHECK(fresh, "{}: duplicate tensor {}", in.path(), place->first);
  }
  const int64_t alignment = part.number("general.alignment").value_or(32);
  SLICE_FORMAT_CHECK(alignment >= 8 && alignment <= int64_t{1} << 30 &&
                         std::has_single_bit(static_cast<uint64_t>(alignment)),
                     "{}: general.alignment: want a power of two of at least 8, got {}", in.path(),
                     alignment);
  const auto unit = static_cast<uint64_t>(alignment);
  place_tensors(part.entries, (in.position() + unit - 1) / unit * unit, unit, part.file->size(),
                in.path());
  return part;
}

std::vector<GgufPart> read_gguf_split(GgufPart given, int64_t count) {
  const std::filesystem::path path = given.file->path();
  const int64_t own = given.number("split.no").value_or(-1);
  const auto stem = split_stem(path.filename().string(), own + 1, count);
  SLICE_FORMAT_CHECK(stem && count <= 99999,
                     "{}: one of {} files (split.count), number {}: want them side by side under "
                     "the names that gguf-split gave them, NAME-00001-of-{:05}.gguf and so on",
                     path.string(), count, own + 1, count);
  std::vector<GgufPart> parts;
  size_t tensors = 0;
  for (int64_t i = 0; i < count; ++i) {
    const std::filesystem::path sibling =
        path.parent_path() / formatted("{}-{:05}-of-{:05}.gguf", *stem, i + 1, count);
    std::error_code ignored;
    SLICE_FORMAT_CHECK(i == own || std::filesystem::exists(sibling, ignored),
                       "{}: one of the {} files of a split model, of which {} is not there",
                       path.string(), count, sibling.filename().string());
    parts.push_back(i == own ? std::move(given) : read_gguf_part(sibling));
    SLICE_FORMAT_CHECK(
        parts.back().number("split.no") == i && parts.back().number("split.count") == count,
        "{}: want number {} of {} files of a split model (split.no, split.count)", sibling.string(),
        i + 1, count);
    tensors += parts.back().entries.size();
  }
  const int64_t want =
      parts.front().number("split.tensors.count").value_or(static_cast<int64_t>(tensors));
  SLICE_FORMAT_CHECK(want == static_cast<int64_t>(tensors),
                     "{}: the {} files of this split model hold {} tensors, of {} "
                     "(split.tensors.count)",
                     path.string(), count, tensors, want);
  return parts;
}

}  // namespace slice::detail
