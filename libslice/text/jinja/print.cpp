#include "libslice/text/jinja/print.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "libslice/base/detail/formatted.h"
#include "libslice/base/detail/unicode.h"

namespace slice::detail::jinja {
namespace {

// The shortest digits that read back as the same number, laid out as Python does.
std::string float_text(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
  char buffer[64];
  const double size = std::abs(number);
  const bool plain = size == 0 || (size >= 1e-4 && size < 1e16);
  const auto format = plain ? std::chars_format::fixed : std::chars_format::scientific;
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), number, format);
  std::string text(buffer, end.ptr);
  if (plain && text.find('.') == std::string::npos) text += ".0";
  return text;
}

bool is_printable(char32_t character) {
  if (character == ' ') return true;
  constexpr uint32_t kOthers = U_GC_C_MASK | U_GC_Z_MASK;
  return (U_GET_GC_MASK(static_cast<UChar32>(character)) & kOthers) == 0;
}

// The text as a Python literal.
void append_literal(std::string& out, std::string_view text) {
  const bool has_single = text.find('\'') != text.npos, has_double = text.find('"') != text.npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  out += quote;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const char32_t character = next_character(text, i);
    const auto code = static_cast<uint32_t>(character);
    if (character == '\\' || character == static_cast<char32_t>(quote)) {
      out += {'\\', static_cast<char>(character)};
    } else if (character == '\n') {
      out += "\\n";
    } else if (character == '\r') {
      out += "\\r";
    } else if (character == '\t') {
      out += "\\t";
    } else if (is_printable(character)) {
      out += text.substr(begin, i - begin);
    } else {
      out += code < 0x100     ? detail::formatted("\\x{:02x}", code)
             : code < 0x10000 ? detail::formatted("\\u{:04x}", code)
                              : detail::formatted("\\U{:08x}", code);
    }
  }
  out += quote;
}

// The result of str() for an item of a list or dict.
void append_repr(std::string& out, const Value& value, Meter& meter) {
  const size_t before = out.size();
  if (value.text()) {
    meter.charge(value.text()->size());
    append_literal(out, *value.text());
  } else if (value.list()) {
    const List& list = *value.list();
    out += list.is_tuple ? '(' : '[';
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) out += ", ";
      append_repr(out, list.items[i], meter);
    }
    if (list.is_tuple && list.items.size() == 1) out += ',';
    out += list.is_tuple ? ')' : ']';
  } else if (value.dict()) {
    out += '{';
    for (const auto& [key, item] : value.dict()->entries) {
      if (out.back() != '{' || out.size() != before + 1) out += ", ";
      append_literal(out, key);
      out += ": ";
      append_repr(out, item, meter);
    }
    out += '}';
  } else if (value.undefined()) {
    out += "Undefined";
  } else {
    out += to_text(value, meter);
  }
  meter.charge(Meter::kStep);
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
      const double number = *value.real();
      out_ += std::isnan(number)   ? "NaN"
              : std::isinf(number) ? (number < 0 ? "-Infinity" : "Infinity")
                                   : float_text(number);
    } else if (value.is_none()) {
      out_ += "null";
    } else if (value.list()) {
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

  void write_dict(const Dict& dict, int64_t level) {
    std::vector<const std::pair<std::string, Value>*> entries;
    for (const auto& entry : dict.entries) entries.push_back(&entry);
    if (options_.sort_keys) {
      std::ranges::stable_sort(entries, {}, [](const auto* entry) { return entry->first; });
    }
    write_all('{', '}', entries.size(), level, [&](size_t i) {
      write_string(entries[i]->first);
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

  void append(const std::string& separator) {
    meter_.charge(separator.size());
    out_ += separator;
  }

  void break_line(int64_t level) {
    if (!options_.indent) return;
    const auto width = static_cast<uint64_t>(std::max<int64_t>(0, *options_.indent));
    meter_.charge(width);  // before it is multiplied
    meter_.charge(width * static_cast<uint64_t>(level));
    out_ += '\n';
    out_.append(width * static_cast<uint64_t>(level), ' ');
  }

  const JsonOptions& options_;
  Meter& meter_;
  std::string out_;
};

}  // namespace

std::string to_text(const Value& value, Meter& meter) {
  if (value.text()) return *value.text();
  if (value.undefined()) return {};
  if (value.is_none()) return "None";
  if (value.boolean()) return *value.boolean() ? "True" : "False";
  if (value.integer()) return std::to_string(*value.integer());
  if (value.real()) return float_text(*value.real());
  if (value.list() || value.dict()) {
    std::string out;
    append_repr(out, value, meter);
    return out;
  }
  throw Failure(detail::formatted("{} cannot be printed", value.kind()));
}

std::string to_json(const Value& value, const JsonOptions& options, Meter& meter) {
  JsonWriter writer(options, meter);
  writer.write(value, 0);
  return writer.take();
}

}  // namespace slice::detail::jinja
