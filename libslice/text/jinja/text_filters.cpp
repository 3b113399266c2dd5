#include <unicode/uchar.h>

#include <algorithm>

#include "libslice/base/detail/formatted.h"
#include "libslice/base/detail/unicode.h"
#include "libslice/text/jinja/compare.h"
#include "libslice/text/jinja/filters.h"
#include "libslice/text/jinja/json_text.h"
#include "libslice/text/jinja/markup.h"
#include "libslice/text/jinja/methods.h"
#include "libslice/text/jinja/percent.h"
#include "libslice/text/jinja/print.h"
#include "libslice/text/jinja/text.h"

namespace slice::detail::jinja {
namespace {

// The printed value; a Markup stays one.
Value soft_text(const Value& subject, Meter& meter) {
  return subject.text() ? subject : new_text(to_text(subject, meter), meter);
}

// Filters that are methods of strings, applied to the printed value.
template <const char* kMethod>
Value as_text(const Value& subject, const Arguments& arguments, Meter& meter) {
  return call_method(soft_text(subject, meter), kMethod, arguments, meter);
}
constexpr char kStrip[] = "strip", kUpper[] = "upper", kLower[] = "lower",
               kCapitalize[] = "capitalize";

Value replace_all(const Value& subject, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("replace", {"old", "new", "count"});
  Arguments printed{{to_text(bound[0], meter), to_text(bound[1], meter)}};
  if (!bound[2].is_absent() && !bound[2].is_none()) printed.positional.push_back(bound[2]);
  return call_method(new_text(to_text(subject, meter), meter), "replace", printed, meter);
}

// As Jinja's, which is not str.title(): words begin after spaces, - ( { [ and <.
Value title_words(const Value& subject, const Arguments& arguments, Meter& meter) {
  arguments.bind("title", {});
  const std::string text = to_text(subject, meter);
  meter.charge(text.size() * 8);
  std::string result;
  bool in_word = false;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const char32_t character = next_character(text, i);
    const auto piece = std::string_view(text).substr(begin, i - begin);
    const bool parts =
        is_space(character) ||
        (character < 0x80 &&
         std::string_view("-({[<").find(static_cast<char>(character)) != std::string_view::npos);
    result += in_word && !parts ? lower(piece) : upper(piece);
    in_word = !parts;
  }
  return new_text(std::move(result), meter);
}

Value string(const Value& subject, const Arguments& arguments, Meter& meter) {
  arguments.bind("string", {});
  return soft_text(subject, meter);
}

Value safe(const Value& subject, const Arguments& arguments, Meter& meter) {
  arguments.bind("safe", {});
  return new_markup(to_text(subject, meter), meter);
}

template <bool kAlways>
Value escape(const Value& subject, const Arguments& arguments, Meter& meter) {
  arguments.bind("escape", {});
  return new_markup(
      kAlways ? escaped_text(to_text(subject, meter), meter) : escaped(subject, meter), meter);
}

Value strip_tags(const Value& subject, const Arguments& arguments, Meter& meter) {
  arguments.bind("striptags", {});
  return new_text(without_tags(to_text(subject, meter), meter), meter);
}

Value tojson(const Value& subject, const Arguments& arguments, Meter& meter) {
  const auto bound =
      arguments.bind("tojson", {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonOptions options;
  options.ascii_only = bound[0].truth();
  if (!bound[1].is_absent() && !bound[1].is_none()) {
    const int64_t width = bound[1].text() ? 0 : want_integer(bound[1], "tojson(): indent");
    meter.charge(static_cast<uint64_t>(std::max<int64_t>(0, width)));
    options.indent = bound[1].text()
                         ? *bound[1].text()
                         : std::string(static_cast<size_t>(std::max<int64_t>(0, width)), ' ');
    options.item_separator = ",";
  }
  if (!bound[2].is_absent() && !bound[2].is_none()) {
    const List* pair = bound[2].list();
    if (!pair || pair->items.size() != 2) throw Failure("tojson(): want two 'separators'");
    options.item_separator = want_text(pair->items[0], "tojson()");
    options.key_separator = want_text(pair->items[1], "tojson()");
  }
  options.sort_keys = bound[3].truth();
  return new_text(to_json(subject, options, meter), meter);
}

Value indent(const Value& subject, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("indent", {"width", "first", "blank"});
  const std::string text = want_text(subject, "indent()") + "\n";
  std::string margin;
  if (bound[0].text()) {
    margin = subject.is_markup() ? escaped(bound[0], meter) : *bound[0].text();
  } else {
    const int64_t width = std::max<int64_t>(0, want_integer(bound[0], "indent()", 4));
    meter.charge(static_cast<uint64_t>(width));
    margin.assign(static_cast<size_t>(width), ' ');
  }
  const bool blank = bound[2].truth();
  meter.charge(text.size() * 2);
  std::string result = bound[1].truth() ? margin : "";
  bool first = true;
  for (const std::string_view line : lines(text, false)) {
    meter.charge(line.size() + margin.size());
    if (!first) result += '\n';
    if (!first && (blank || !line.empty())) result += margin;
    result += line;
    first = false;
  }
  return subject.is_markup() ? new_markup(std::move(result), meter)
                             : new_text(std::move(result), meter);
}

Value truncate(const Value& subject, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("truncate", {"length", "killwords", "end", "leeway"});
  const int64_t length = want_integer(bound[0], "truncate()", 255);
  const int64_t leeway = bound[3].is_none() ? 5 : want_integer(bound[3], "truncate()", 5);
  const std::string end = bound[2].is_absent() ? "..." : want_text(bound[2], "truncate()");
  const int64_t kept = length - character_count(end);
  if (kept < 0 || leeway < 0) throw Failure("truncate(): the length is below that of its end");
  const bool fits = (subject.list() && std::ssize(subject.list()->items) - leeway <= length) ||
                    (subject.dict() && std::ssize(subject.dict()->entries) - leeway <= length);
  if (subject.undefined() || fits) return subject;
  const std::string& text = want_text(subject, "truncate()");
  meter.charge(text.size() * 4);
  const auto pieces = characters(text);
  if (std::ssize(pieces) - leeway <= length) return subject;
  std::string_view part = text;
  part = part.substr(0, static_cast<size_t>(pieces[kept].data() - text.data()));
  if (!bound[1].truth()) part = part.substr(0, part.rfind(' '));
  if (!subject.is_markup()) return new_text(std::string(part) + end, meter);
  const Value tail = bound[2].is_absent() ? Value(end) : bound[2];
  return new_markup(std::string(part) + escaped(tail, meter), meter);
}

Value word_count(const Value& subject, const Arguments& arguments, Meter& meter) {
  arguments.bind("wordcount", {});
  const std::string text = to_text(subject, meter);
  meter.charge(text.size() * 4);
  int64_t count = 0;
  bool in_word = false;
  for (size_t i = 0; i < text.size();) {
    const auto c = static_cast<UChar32>(next_character(text, i));
    constexpr uint32_t kWord = U_GC_L_MASK | U_GC_N_MASK;
    const bool is_word = c == '_' || (U_GET_GC_MASK(c) & kWord) != 0;
    count += is_word && !in_word;
    in_word = is_word;
  }
  return count;
}

Value center(const Value& subject, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("center", {"width"});
  const Value width = bound[0].is_absent() ? Value(int64_t{80}) : bound[0];
  return call_method(soft_text(subject, meter), "center", {{width}}, meter);
}

Value format(const Value& subject, const Arguments& arguments, Meter& meter) {
  const Value text = soft_text(subject, meter);
  if (arguments.named.empty()) {
    return format_percent(text, new_list(arguments.positional, meter, Sequence::kTuple), meter);
  }
  if (!arguments.positional.empty()) throw Failure("format() takes positions or names, not both");
  return format_percent(text, Value::dict(arguments.named), meter);
}

std::string url_quoted(const Value& value, bool for_query, Meter& meter) {
  constexpr std::string_view kPlain = "_.-~", kDigits = "0123456789ABCDEF";
  const std::string text = to_text(value, meter);
  meter.charge(text.size() * 3);
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool is_alnum =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (is_alnum || kPlain.find(c) != std::string_view::npos || (c == '/' && !for_query)) {
      result += c;
    } else if (c == ' ' && for_query) {
      result += '+';
    } else {
      result += {'%', kDigits[byte / 16], kDigits[byte % 16]};
    }
  }
  return result;
}

Value urlencode(const Value& subject, const Arguments& arguments, Meter& meter) {
  arguments.bind("urlencode", {});
  const bool is_one = subject.text() || subject.as_number() || subject.is_none();
  if (is_one) return new_text(url_quoted(subject, false, meter), meter);
  std::string result;
  const auto append = [&](const Value& key, const Value& value) {
    if (!result.empty()) result += '&';
    result += url_quoted(key, true, meter) + "=" + url_quoted(value, true, meter);
  };
  if (subject.dict()) {
    for (const auto& [key, value] : subject.dict()->entries) append(key, value);
    return new_text(std::move(result), meter);
  }
  for (const Value& item : elements(subject, meter)) {
    const std::vector<Value> pair = elements(item, meter);
    if (pair.size() != 2) throw Failure("urlencode() wants pairs");
    append(pair[0], pair[1]);
  }
  return new_text(std::move(result), meter);
}

Value xml_attributes(const Value& subject, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("xmlattr", {"autospace"});
  if (!subject.dict()) throw Failure(detail::formatted("xmlattr() of {}", subject.kind()));
  std::string result;
  for (const auto& [key, value] : subject.dict()->entries) {
    if (value.is_none() || value.undefined()) continue;
    const std::string& name = want_text(key, "xmlattr()");
    if (name.find_first_of(" \t\n\r\f\v/>=") != std::string::npos) {
      throw Failure(detail::formatted("xmlattr(): '{}' is no name of an attribute", name));
    }
    if (!result.empty()) result += ' ';
    result += escaped(key, meter) + "=\"" + escaped(value, meter) + "\"";
  }
  const bool has_space = bound[0].is_absent() || bound[0].truth();
  return new_text((has_space && !result.empty() ? " " : "") + result, meter);
}

// Python's pprint of what fits on a line.
Value pretty(const Value& subject, const Arguments& arguments, Meter& meter) {
  arguments.bind("pprint", {});
  const std::string text = to_repr(subject, meter);
  if (character_count(text) > 80) throw Failure("pprint() of more than a line is not supported");
  if (subject.dict() && subject.dict()->entries.size() > 1) {
    throw Failure("pprint() of a dict is not supported");
  }
  return new_text(text, meter);
}

}  // namespace

const Filters& text_filters() {
  static const Filters table = {
      {"trim", as_text<kStrip>},
      {"upper", as_text<kUpper>},
      {"lower", as_text<kLower>},
      {"capitalize", as_text<kCapitalize>},
      {"title", title_words},
      {"replace", replace_all},
      {"string", string},
      {"safe", safe},
      {"e", escape<false>},
      {"escape", escape<false>},
      {"forceescape", escape<true>},
      {"striptags", strip_tags},
      {"tojson", tojson},
      {"indent", indent},
      {"truncate", truncate},
      {"wordcount", word_count},
      {"center", center},
      {"format", format},
      {"urlencode", urlencode},
      {"xmlattr", xml_attributes},
      {"pprint", pretty},
  };
  return table;
}

}  // namespace slice::detail::jinja
