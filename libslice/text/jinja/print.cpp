#include "libslice/text/jinja/print.h"

#include <charconv>
#include <cmath>

#include "libslice/base/detail/formatted.h"
#include "libslice/base/detail/unicode.h"
#include "libslice/text/jinja/objects.h"
#include "libslice/text/jinja/text.h"

namespace slice::detail::jinja {
namespace {

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

// Python's repr() of a value.
class Writer {
 public:
  explicit Writer(Meter& meter) : meter_(meter) {}

  void write(const Value& value) {
    meter_.charge(Meter::kStep);
    if (value.text()) {
      write_text(value);
    } else if (value.list()) {
      write_list(*value.list());
    } else if (value.dict()) {
      write_dict(*value.dict());
    } else if (value.loop()) {
      write_loop(*value.loop());
    } else if (value.callable() && value.callable()->macro) {
      out_ += "<Macro ";
      append_literal(out_, value.callable()->name);
      out_ += '>';
    } else if (value.undefined()) {
      out_ += "Undefined";
    } else {
      out_ += to_text(value, meter_);
    }
  }

  std::string take() { return std::move(out_); }

 private:
  void write_text(const Value& value) {
    meter_.charge(value.text()->size());
    if (value.is_markup()) out_ += "Markup(";
    append_literal(out_, *value.text());
    if (value.is_markup()) out_ += ')';
  }

  void write_list(const List& list) {
    constexpr const char *kOpening[] =
        {"[", "(", "(", "", "", "dict_keys([", "dict_values([", "dict_items(["},
                         *kClosing[] = {"]", ")", ")", "", "", "])", "])", "])"};
    if (list.type == Sequence::kRange) return write_range(list);
    if (list.type == Sequence::kBytes) return write_bytes(list);
    const auto type = static_cast<size_t>(list.type);
    out_ += kOpening[type];
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) out_ += ", ";
      write(list.items[i]);
    }
    if (list.is_tuple() && list.items.size() == 1) out_ += ',';
    out_ += kClosing[type];
  }

  void write_range(const List& list) {
    const auto [start, stop, step] = list.range;
    out_ += detail::formatted("range({}, {}", start, stop);
    if (step != 1) out_ += detail::formatted(", {}", step);
    out_ += ')';
  }

  void write_bytes(const List& list) {
    std::string text;
    for (const Value& item : list.items) text += static_cast<char>(*item.integer());
    const bool prefers_double = text.find('\'') != text.npos && text.find('"') == text.npos;
    const char quote = prefers_double ? '"' : '\'';
    meter_.charge(text.size() * 4);
    out_ += {'b', quote};
    for (const char byte : text) {
      constexpr std::string_view kEscaped = "\n\r\t\\", kLetters = "nrt\\";
      const size_t escape = kEscaped.find(byte);
      if (escape != std::string_view::npos || byte == quote) {
        out_ += {'\\', byte == quote ? byte : kLetters[escape]};
      } else if (byte >= ' ' && byte <= '~') {
        out_ += byte;
      } else {
        out_ += detail::formatted("\\x{:02x}", static_cast<unsigned char>(byte));
      }
    }
    out_ += quote;
  }

  void write_dict(const Dict& dict) {
    const auto& entries = dict.entries;
    out_ += '{';
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out_ += ", ";
      write(entries[i].first);
      out_ += ": ";
      write(entries[i].second);
    }
    out_ += '}';
  }

  void write_loop(Loop& loop) {
    while (loop.pull()) continue;
    out_ += detail::formatted("<LoopContext {}/{}>", loop.index + 1, loop.items.size());
  }

  Meter& meter_;
  std::string out_;
};

}  // namespace

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

std::string to_text(const Value& value, Meter& meter) {
  if (value.text()) return *value.text();
  if (value.undefined()) return {};
  if (value.is_none()) return "None";
  if (value.boolean()) return *value.boolean() ? "True" : "False";
  if (value.integer()) return std::to_string(*value.integer());
  if (value.real()) return float_text(*value.real());
  const bool is_address = value.iterator() || value.turns() || value.space() ||
                          (value.callable() && !value.callable()->macro);
  if (is_address) throw Failure(detail::formatted("{} cannot be printed", value.kind()));
  return to_repr(value, meter);
}

std::string to_repr(const Value& value, Meter& meter) {
  Writer writer(meter);
  writer.write(value);
  return writer.take();
}

}  // namespace slice::detail::jinja
