#include "libslice/text/text_file.h"

#include <functional>
#include <limits>
#include <string_view>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/json.h"
#include "libslice/base/detail/unicode.h"
#include "libslice/base/detail/warn.h"
#include "libslice/text/chat.h"
#include "libslice/text/detail/byte_source.h"
#include "libslice/text/detail/json_values.h"
#include "libslice/text/detail/text_record.h"

namespace slice {
namespace {

constexpr char kBetweenRecords[] = "\n\n";
constexpr char kByteOrderMark[] = "\xef\xbb\xbf";
constexpr size_t kMostText = std::numeric_limits<int32_t>::max();  // what ICU can index

std::string shown_name(const std::string& path) { return path == "-" ? "standard input" : path; }

void append(std::string& text, std::string_view more, const std::string& path) {
  SLICE_FORMAT_CHECK(more.size() <= kMostText - text.size(),
                     "{}: more than 2 GiB of text: a part of it will do", shown_name(path));
  text += more;
}

void append_record(std::string& text, std::string_view record, const std::string& path) {
  if (record.empty()) return;
  if (!text.empty()) append(text, kBetweenRecords, path);
  append(text, record, path);
}

bool holds_json(const std::string& path) {
  const std::string name = detail::uncompressed_name(path);
  return name.ends_with(".json") || name.ends_with(".jsonl") || name.ends_with(".ndjson");
}

/// @param on_record  takes a record and its place
void each_record(const std::string& path,
                 const std::function<void(detail::TextRecord, const std::string&)>& on_record) {
  detail::JsonValues values(detail::open_text_bytes(path), path);
  while (values.next()) {
    const std::string where = values.where();
    detail::check_utf8(values.text(), where);
    detail::read_records(detail::parse_json(values.text(), where), where,
                         [&](detail::TextRecord record) { on_record(std::move(record), where); });
  }
}

/// The ids of a file's text. Plain records are encoded together, conversations one by one.
class FileEncoder {
 public:
  FileEncoder(const Tokenizer& tokenizer, std::string path)
      : tokenizer_(tokenizer), path_(std::move(path)), chats_(!tokenizer.chat_template().empty()) {}

  std::vector<int64_t> encode() {
    if (holds_json(path_)) {
      each_record(path_, [&](const detail::TextRecord& record, const std::string& where) {
        if (chats_ && !record.messages.empty()) {
          add_conversation(record.messages, where);
        } else {
          append_record(plain_, record.text, path_);
        }
      });
    } else {
      plain_ = read_file_text(path_);
    }
    flush();
    if (refused_ > 0) {
      SLICE_FORMAT_CHECK(!ids_.empty(), "{}", refusal_);
      detail::warn("{}: {} conversations are left out, the chat template refuses them: {}", path_,
                   refused_, refusal_);
    }
    SLICE_FORMAT_CHECK(!ids_.empty(), "{}: no text in it", shown_name(path_));
    return std::move(ids_);
  }

 private:
  void add_conversation(const std::vector<ChatMessage>& messages, const std::string& where) {
    flush();
    try {
      take(encode_chat(tokenizer_, messages, /*add_generation_prompt=*/false));
    } catch (const FormatError& error) {
      if (refused_++ == 0) refusal_ = detail::formatted("{}: {}", where, error.what());
    }
  }

  void flush() {
    if (!plain_.empty()) take(tokenizer_.encode(plain_));
    plain_.clear();
  }

  void take(const std::vector<int64_t>& ids) { ids_.insert(ids_.end(), ids.begin(), ids.end()); }

  const Tokenizer& tokenizer_;
  std::string path_, plain_, refusal_;
  bool chats_;
  std::vector<int64_t> ids_;
  int64_t refused_ = 0;
};

}  // namespace

std::string read_file_text(const std::string& path) {
  const auto source = detail::open_text_bytes(path);
  std::string text;
  std::vector<char> piece(size_t{1} << 16);
  while (const size_t size = source->read(piece.data(), piece.size()))
    append(text, {piece.data(), size}, path);
  detail::check_utf8(text, shown_name(path));
  if (text.starts_with(kByteOrderMark)) text.erase(0, sizeof kByteOrderMark - 1);
  return text;
}

std::string read_text(const std::string& path) {
  std::string text;
  if (holds_json(path)) {
    each_record(path, [&](const detail::TextRecord& record, const std::string&) {
      append_record(text, record.text, path);
    });
  } else {
    text = read_file_text(path);
  }
  SLICE_FORMAT_CHECK(!text.empty(), "{}: no text in it", shown_name(path));
  return text;
}

std::vector<int64_t> encode_file(const Tokenizer& tokenizer, const std::string& path) {
  return FileEncoder(tokenizer, path).encode();
}

}  // namespace slice
