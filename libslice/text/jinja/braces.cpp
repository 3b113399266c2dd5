#include "libslice/text/jinja/braces.h"

#include <algorithm>
#include <charconv>

#include "libslice/base/detail/formatted.h"
#include "libslice/text/jinja/access.h"
#include "libslice/text/jinja/format_spec.h"
#include "libslice/text/jinja/markup.h"
#include "libslice/text/jinja/print.h"

namespace slice::detail::jinja {
namespace {

std::optional<int64_t> index_of(std::string_view text) {
  int64_t index = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), index);
  const bool is_whole = result.ec == std::errc() && result.ptr == text.data() + text.size();
  return is_whole && !text.starts_with('-') ? std::optional(index) : std::nullopt;
}

class BraceFormat {
 public:
  BraceFormat(const Arguments& arguments, bool escapes, Meter& meter)
      : arguments_(arguments), escapes_(escapes), meter_(meter) {}

  // `level`: of fields in the formats of fields.
  std::string run(std::string_view text, int level) {
    std::string out;
    while (!text.empty()) {
      const size_t mark = std::min(text.find_first_of("{}"), text.size());
      meter_.charge(mark + Meter::kStep);
      out += text.substr(0, mark);
      text.remove_prefix(mark);
      if (text.empty()) break;
      if (text.size() > 1 && text[1] == text[0]) {
        out += text[0];
        text.remove_prefix(2);
      } else if (text[0] == '{') {
        const size_t end = closing(text);
        out += field(text.substr(1, end - 1), level);
        text.remove_prefix(end + 1);
      } else {
        throw Failure("format(): a single '}'");
      }
    }
    return out;
  }

 private:
  static size_t closing(std::string_view text) {
    int depth = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      depth += text[i] == '{' ? 1 : text[i] == '}' ? -1 : 0;
      if (depth == 0) return i;
    }
    throw Failure("format(): '{' without '}'");
  }

  std::string field(std::string_view text, int level) {
    if (level > 1) throw Failure("format(): fields nested too deep");
    const size_t bracket = text.find('[');
    size_t end = text.find_first_of("!:");
    if (bracket < end) end = text.find_first_of("!:", std::min(text.find(']'), text.size()));
    const std::string_view name = text.substr(0, end);
    std::string_view rest = end == std::string_view::npos ? "" : text.substr(end);
    char conversion = '\0';
    if (rest.starts_with('!')) {
      conversion = rest.size() > 1 ? rest[1] : '\0';
      rest.remove_prefix(std::min<size_t>(2, rest.size()));
      if (conversion != 's' && conversion != 'r') {
        throw Failure(detail::formatted("format(): the conversion '!{}' is not supported",
                                        std::string(conversion != '\0', conversion)));
      }
    }
    if (!rest.empty() && rest.front() != ':')
      throw Failure("format(): want ':' after a conversion");
    Value value = look_up(name);
    const std::string layout = rest.empty() ? "" : run(rest.substr(1), level + 1);
    if (conversion == 'r') value = to_repr(value, meter_);
    if (conversion == 's') value = to_text(value, meter_);
    const std::string result = format_value(value, parse_format_spec(layout), meter_);
    if (escapes_ && value.is_markup() && !layout.empty()) {
      throw Failure("format(): a format of a safe string");
    }
    return escapes_ && !value.is_markup() ? escaped_text(result, meter_) : result;
  }

  Value look_up(std::string_view name) {
    const size_t end = std::min(name.find_first_of(".["), name.size());
    if (end == 0 && !name.empty()) throw Failure("format(): an attribute of no argument");
    Value value = argument(name.substr(0, end));
    name.remove_prefix(end);
    while (!name.empty()) {
      const bool is_index = name.front() == '[';
      const size_t stop =
          is_index ? name.find(']') : std::min(name.find_first_of(".[", 1), name.size());
      if (stop == std::string_view::npos) throw Failure("format(): '[' without ']'");
      const std::string_view part = name.substr(1, stop - 1);
      const auto index = index_of(part);
      value = !is_index ? get_attribute(value, part, meter_)
              : index   ? get_item(value, *index, meter_)
                        : get_item(value, std::string(part), meter_);
      name.remove_prefix(stop + is_index);
    }
    return value;
  }

  Value argument(std::string_view name) {
    const auto index = name.empty() ? std::optional(next_++) : index_of(name);
    if (index) {
      if (*index < std::ssize(arguments_.positional)) return arguments_.positional[*index];
      throw Failure(detail::formatted("format(): no argument {}", *index));
    }
    for (const auto& [known, value] : arguments_.named) {
      if (known == name) return value;
    }
    throw Failure(detail::formatted("format(): no argument '{}'", name));
  }

  const Arguments& arguments_;
  bool escapes_;
  Meter& meter_;
  int64_t next_ = 0;
};

}  // namespace

Value format_braces(const Value& text, const Arguments& arguments, Meter& meter) {
  std::string result = BraceFormat(arguments, text.is_markup(), meter).run(*text.text(), 0);
  return text.is_markup() ? new_markup(std::move(result), meter)
                          : new_text(std::move(result), meter);
}

}  // namespace slice::detail::jinja
