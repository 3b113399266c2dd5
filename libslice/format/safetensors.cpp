#include "libslice/format/safetensors.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/util/accumulate.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/file.h"
#include "libslice/base/detail/file_kind.h"
#include "libslice/base/detail/input_file.h"
#include "libslice/base/detail/json.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/format/detail/safetensors_dtype.h"
#include "libslice/format/write_tensor.h"

namespace slice {

using nlohmann::json;

namespace {

static_assert(std::endian::native == std::endian::little,
              "the format's numbers are copied byte by byte");

constexpr uint64_t kLargestHeader = 100'000'000;  // the format's own limit
constexpr int64_t kMostHeaderValues = 8'000'000;  // a tensor has six and its dimensions
constexpr size_t kMostDimensions = 8;

uint64_t unsigned_number(const json& value, const std::string& where) {
  SLICE_FORMAT_CHECK(value.is_number_unsigned(), "{}: want a non-negative integer, got {}", where,
                     value.is_number() ? value.dump() : value.type_name());
  return value.get<uint64_t>();
}

/// One entry of the header; the data begin at `base` of a file of `size` bytes.
SafetensorsFile::Entry parse_entry(const json& object, uint64_t base, uint64_t size,
                                   const std::string& where) {
  SafetensorsFile::Entry entry;
  entry.dtype =
      detail::safetensors_dtype(detail::field<std::string>(object, "dtype", where), where);
  SLICE_FORMAT_CHECK(object.contains("shape") && object.contains("data_offsets"),
                     "{}: want shape and data_offsets", where);
  const json& shape = detail::array_field(object, "shape", where);
  SLICE_FORMAT_CHECK(shape.size() <= kMostDimensions,
                     "{}: shape: want at most {} dimensions, got {}", where, kMostDimensions,
                     shape.size());
  uint64_t bytes = c10::elementSize(entry.dtype);
  uint64_t span = bytes;  // the same without zeros: strides have to fit too
  for (const json& dimension : shape) {
    const uint64_t extent = unsigned_number(dimension, where + ": shape");
    SLICE_FORMAT_CHECK(!__builtin_mul_overflow(span, std::max<uint64_t>(extent, 1), &span) &&
                           std::in_range<int64_t>(span),
                       "{}: shape is too large", where);
    bytes *= extent;
    entry.shape.push_back(static_cast<int64_t>(extent));
  }
  const json& offsets = detail::array_field(object, "data_offsets", where);
  SLICE_FORMAT_CHECK(offsets.size() == 2, "{}: data_offsets: want two numbers", where);
  const uint64_t begin = unsigned_number(offsets[0], where + ": data_offsets");
  const uint64_t end = unsigned_number(offsets[1], where + ": data_offsets");
  SLICE_FORMAT_CHECK(begin <= end && end <= size - base,
                     "{}: bytes {} … {} are outside the file's {} data bytes", where, begin, end,
                     size - base);
  SLICE_FORMAT_CHECK(end - begin == bytes, "{}: {} {} wants {} bytes, data_offsets give {}", where,
                     detail::describe(entry.shape), detail::dtype_name(entry.dtype), bytes,
                     end - begin);
  entry.begin = base + begin;
  entry.end = base + end;
  return entry;
}

/// Every data byte belongs to exactly one tensor.
void check_cover(const std::map<std::string, SafetensorsFile::Entry>& entries, uint64_t base,
                 uint64_t size, const std::string& path) {
  using Named = std::pair<const std::string, SafetensorsFile::Entry>;
  std::vector<const Named*> order;
  for (const Named& named : entries) order.push_back(&named);
  std::sort(order.begin(), order.end(), [](const Named* a, const Named* b) {
    return std::tie(a->second.begin, a->second.end) < std::tie(b->second.begin, b->second.end);
  });
  uint64_t at = base;
  for (const Named* named : order) {
    const auto& [name, entry] = *named;
    SLICE_FORMAT_CHECK(entry.begin >= at, "{}: {} overlaps another tensor", path, name);
    SLICE_FORMAT_CHECK(entry.begin == at, "{}: {} bytes before {} belong to no tensor", path,
                       entry.begin - at, name);
    at = entry.end;
  }
  SLICE_FORMAT_CHECK(at == size, "{}: {} bytes at the end belong to no tensor", path, size - at);
}

json parse_header(const std::string& text, const std::string& path) {
  json header = detail::parse_json(text, path, kMostHeaderValues);
  const auto duplicate = detail::duplicate_key(text);
  SLICE_FORMAT_CHECK(!duplicate, "{}: duplicate key '{}' in the header", path, *duplicate);
  return header;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : file_(std::make_shared<detail::InputFile>(path)) {
  const std::string where = path.string();
  const uint64_t size = file_->size();
  uint64_t header = 0;
  SLICE_FORMAT_CHECK(size >= sizeof header, "{}: {} bytes, too short for a safetensors file", where,
                     size);
  file_->read(&header, 0, sizeof header);
  const bool fits = header <= kLargestHeader && header <= size - sizeof header;
  const std::string kind = fits ? "" : detail::file_kind(*file_);
  SLICE_FORMAT_CHECK(kind.empty(), "{}: want a safetensors file, this is {}", where, kind);
  SLICE_FORMAT_CHECK(fits, "{}: a header of {} bytes: want at most {}, in a file of {}", where,
                     header, kLargestHeader, size);
  const std::string text = file_->text(sizeof header, sizeof header + header);
  const json object = parse_header(text, where);
  SLICE_FORMAT_CHECK(object.is_object(), "{}: the header is not a JSON object", where);
  const uint64_t base = sizeof header + header;
  for (const auto& [name, value] : object.items()) {
    if (name == "__metadata__") {
      SLICE_FORMAT_CHECK(value.is_object(), "{}: __metadata__: want an object", where);
      for (const auto& [key, word] : value.items()) {
        SLICE_FORMAT_CHECK(word.is_string(), "{}: __metadata__: '{}': want a string", where, key);
        metadata_[key] = word.get<std::string>();
      }
      continue;
    }
    entries_[name] = parse_entry(value, base, size, where + ": " + name);
  }
  check_cover(entries_, base, size, where);
}

at::Tensor SafetensorsFile::read(const std::string& name) const {
  const auto found = entries_.find(name);
  SLICE_FORMAT_CHECK(found != entries_.end(), "{}: no tensor is called {}", file_->path().string(),
                     name);
  return copied(name, found->second, found->second.begin, found->second.end, found->second.shape);
}

at::Tensor SafetensorsFile::read(const std::string& name, int64_t begin, int64_t end) const {
  const auto found = entries_.find(name);
  SLICE_FORMAT_CHECK(found != entries_.end() && !found->second.shape.empty(),
                     "{}: no tensor with rows is called {}", file_->path().string(), name);
  const Entry& entry = found->second;
  const int64_t rows = entry.shape[0];
  SLICE_ARGUMENT_CHECK(0 <= begin && begin <= end && end <= rows,
                       "{}: {}: rows {} … {} are outside its {}", file_->path().string(), name,
                       begin, end, rows);
  std::vector<int64_t> shape = entry.shape;
  shape[0] = end - begin;
  const uint64_t row = rows == 0 ? 0 : (entry.end - entry.begin) / static_cast<uint64_t>(rows);
  return copied(name, entry, entry.begin + row * static_cast<uint64_t>(begin),
                entry.begin + row * static_cast<uint64_t>(end), shape);
}

at::Tensor SafetensorsFile::copied(const std::string& name, const Entry& entry, uint64_t first,
                                   uint64_t last, at::IntArrayRef shape) const {
  at::Tensor tensor = at::empty(shape, entry.dtype);
  if (last > first) {
    void* to = tensor.mutable_data_ptr();
    file_->read(to, first, last);
    const auto* bytes = static_cast<const std::byte*>(to);
    SLICE_FORMAT_CHECK(
        entry.dtype != at::kBool || std::all_of(bytes, bytes + (last - first),
                                                [](std::byte b) { return b <= std::byte{1}; }),
        "{}: {}: a BOOL is neither 0 nor 1", file_->path().string(), name);
  }
  return tensor;
}

namespace {

/// The header's JSON, padded so that the data begin on an 8-byte boundary.
std::string header_text(const std::vector<SafetensorsWriter::Slot>& slots) {
  nlohmann::ordered_json header = {{"__metadata__", {{"format", "pt"}}}};
  // ordered_json compares a new key with all earlier ones, so entries go into its container.
  auto& entries = header.get_ref<nlohmann::ordered_json::object_t&>();
  std::set<std::string> names = {"__metadata__"};
  uint64_t at = 0;
  for (const auto& slot : slots) {
    SLICE_ARGUMENT_CHECK(names.insert(slot.name).second, "safetensors: duplicate tensor {}",
                         slot.name);
    const uint64_t end = at + static_cast<uint64_t>(c10::multiply_integers(slot.shape)) *
                                  c10::elementSize(slot.dtype);
    nlohmann::ordered_json entry = {{"dtype", detail::safetensors_name(slot.dtype)},
                                    {"shape", slot.shape},
                                    {"data_offsets", {at, end}}};
    entries.Container::emplace_back(slot.name, std::move(entry));
    at = end;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, std::vector<Slot> slots)
    : path_(path), slots_(std::move(slots)) {
  const std::string text = header_text(slots_);
  const uint64_t size = text.size();
  out_ = std::make_unique<detail::OutputFile>(path);
  out_->write(&size, sizeof size);
  out_->write(text.data(), text.size());
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, std::vector<Slot> slots,
                                     size_t written)
    : path_(path), slots_(std::move(slots)), next_(written) {
  const std::string text = header_text(slots_);
  {
    const detail::InputFile file(path);
    const uint64_t end = sizeof(uint64_t) + text.size();
    SLICE_CHECK_AS(Error, file.size() >= end && file.text(sizeof(uint64_t), end) == text,
                   "{}: its header is not that of the file to resume", path.string());
  }
  out_ = std::make_unique<detail::OutputFile>(
      detail::OutputFile::reopen(path, bytes(slots_, written)));
}

SafetensorsWriter::~SafetensorsWriter() = default;
SafetensorsWriter::SafetensorsWriter(SafetensorsWriter&&) noexcept = default;
SafetensorsWriter& SafetensorsWriter::operator=(SafetensorsWriter&&) noexcept = default;

uint64_t SafetensorsWriter::bytes(const std::vector<Slot>& slots, size_t written) {
  uint64_t sum = sizeof(uint64_t) + header_text(slots).size();
  for (size_t i = 0; i < written; ++i)
    sum += static_cast<uint64_t>(c10::multiply_integers(slots[i].shape)) *
           c10::elementSize(slots[i].dtype);
  return sum;
}

const SafetensorsWriter::Slot& SafetensorsWriter::next(const std::string& name) const {
  SLICE_ARGUMENT_CHECK(next_ < slots_.size() && slots_[next_].name == name,
                       "{}: want {} next, got {}", path_.string(),
                       next_ < slots_.size() ? slots_[next_].name : "no more tensors", name);
  return slots_[next_];
}

void SafetensorsWriter::write(const std::string& name, const at::Tensor& tensor) {
  const Slot& slot = next(name);
  SLICE_CHECK(tensor.sizes() == at::IntArrayRef(slot.shape), "{}: {}: want {}, got {}",
              path_.string(), name, detail::describe(slot.shape), detail::describe(tensor));
  const bool converts = tensor.scalar_type() != slot.dtype;
  SLICE_CHECK_AS(DtypeError,
                 !converts || (tensor.is_floating_point() && at::isFloatingType(slot.dtype)),
                 "{}: {}: want {}, got {}", path_.string(), name, detail::dtype_name(slot.dtype),
                 detail::describe(tensor));
  detail::write_tensor(*out_, tensor, slot.dtype,
                       detail::formatted("{}: {}", path_.string(), name));
  ++next_;
}

void SafetensorsWriter::write(const std::string& name, int64_t step,
                              const std::function<at::Tensor(int64_t, int64_t)>& rows) {
  const Slot& slot = next(name);
  const std::string where = detail::formatted("{}: {}", path_.string(), name);
  std::vector<int64_t> shape = slot.shape;
  for (int64_t begin = 0; begin < slot.shape[0]; begin += step) {
    const int64_t end = std::min(begin + step, slot.shape[0]);
    const at::Tensor some = rows(begin, end);
    shape[0] = end - begin;
    SLICE_CHECK(some.sizes() == at::IntArrayRef(shape) && some.scalar_type() == slot.dtype,
                "{}: want {}, got {}", where, detail::describe(shape), detail::describe(some));
    detail::write_tensor(*out_, some, slot.dtype, where);
  }
  ++next_;
}

void SafetensorsWriter::sync() { out_->sync(); }

void SafetensorsWriter::finish() {
  SLICE_CHECK_AS(Error, next_ == slots_.size(), "{}: tensor {} was never written", path_.string(),
                 slots_[next_].name);
  out_->finish();
}

}  // namespace slice
