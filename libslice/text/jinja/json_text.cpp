#include "libslice/text/jinja/json_text.h"

#include <unicode/utf16.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "libslice/base/detail/formatted.h"
#include "libslice/base/detail/unicode.h"
#include "libslice/text/jinja/compare.h"
#include "libslice/text/jinja/print.h"

namespace slice::detail::jinja {
namespace {

std::string json_number(double number) {
  if (std::isnan(number)) return "NaN";
  if (std::isinf(number)) return number < 0 ? "-Infinity" : "Infinity";
  return float_text(number);
}

void append_json_string(std::string& out, std::string_view text, bool ascii_only) {
  const auto append_unit = [&](uint32_t unit) { out += detail::formatted("\\u{:04x}", unit); };
  out += '"';
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const char32_t character = next_character(text, i);
    constexpr std::string_view kEscaped = "\"\\\n\r\t\b\f", kLetters = "\"\\nrtbf";
    const size_t escape =
        character < 0x80 ? kEscaped.find(static_cast<char>(character)) : std::string_view::npos;
    if (escape != std::string_view::npos) {
      out += {'\\', kLetters[escape]};
    } else if (character < 0x20 || (ascii_only && character > 0x7E && character < 0x10000)) {
      append_unit(static_cast<uint32_t>(character));
    } else if (ascii_only && character >= 0x10000) {
      append_unit(U16_LEAD(static_cast<uint32_t>(character)));
      append_unit(U16_TRAIL(static_cast<uint32_t>(character)));
    } else {
      out += text.substr(begin, i - begin);
    }
  }
  out += '"';
}

class JsonWriter {
 public:
  JsonWriter(const JsonOptions& options, Meter& meter) : options_(options), meter_(meter) {}

  void write(const Value& value, int64_t level) {
    meter_.charge(Meter::kStep);
    if (value.text()) {
      write_string(*value.text());
    } else if (value.boolean()) {
      out_ += *value.boolean() ? "true" : "false";
    } else if (value.integer()) {
      out_ += std::to_string(*value.integer());
    } else if (value.real()) {
      out_ += json_number(*value.real());
    } else if (value.is_none()) {
      out_ += "null";
    } else if (value.list() && value.list()->type <= Sequence::kGroup) {
      const auto& items = value.list()->items;
      write_all('[', ']', items.size(), level, [&](size_t i) { write(items[i], level + 1); });
    } else if (value.dict()) {
      write_dict(*value.dict(), level);
    } else {
      check_defined(value);
      throw Failure(detail::formatted("{} cannot be written as JSON", value.kind()));
    }
  }

  std::string take() { return std::move(out_); }

 private:
  void write_string(const std::string& text) {
    meter_.charge(text.size() * (options_.ascii_only ? 6 : 1));
    append_json_string(out_, text, options_.ascii_only);
  }

  // A key that is no string is written as the text of its JSON.
  std::string key_text(const Value& key) const {
    if (key.text()) return *key.text();
    if (key.is_none()) return "null";
    if (key.boolean()) return *key.boolean() ? "true" : "false";
    if (key.integer()) return std::to_string(*key.integer());
    if (key.real()) return json_number(*key.real());
    throw Failure(detail::formatted("{} as a key cannot be written as JSON", key.kind()));
  }

  void write_dict(const Dict& dict, int64_t level) {
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : dict.entries) entries.push_back(&entry);
    if (options_.sort_keys) {
      std::ranges::stable_sort(entries, [&](const auto* one, const auto* other) {
        return less("<", one->first, other->first, meter_);
      });
    }
    write_all('{', '}', entries.size(), level, [&](size_t i) {
      write_string(key_text(entries[i]->first));
      out_ += options_.key_separator;
      write(entries[i]->second, level + 1);
    });
  }

  template <typename WriteOne>
  void write_all(char open, char close, size_t count, int64_t level, WriteOne write_one) {
    out_ += open;
    for (size_t i = 0; i < count; ++i) {
      if (i > 0) append(options_.item_separator);
      break_line(level + 1);
      write_one(i);
    }
    if (count > 0) break_line(level);
    out_ += close;
  }

  void append(const std::string& text) {
    meter_.charge(text.size());
    out_ += text;
  }

  void break_line(int64_t level) {
    if (!options_.indent) return;
    out_ += '\n';
    for (int64_t i = 0; i < level; ++i) append(*options_.indent);
  }

  const JsonOptions& options_;
  Meter& meter_;
  std::string out_;
};

}  // namespace

std::string to_json(const Value& value, const JsonOptions& options, Meter& meter) {
  JsonWriter writer(options, meter);
  writer.write(value, 0);
  return writer.take();
}

}  // namespace slice::detail::jinja
