#include <algorithm>

#include "libslice/base/detail/formatted.h"
#include "libslice/base/detail/unicode.h"
#include "libslice/text/jinja/compare.h"
#include "libslice/text/jinja/methods.h"
#include "libslice/text/jinja/text.h"

namespace slice::detail::jinja {
namespace {

const std::string& separator_of(const Value& value, std::string_view function) {
  const std::string& separator = want_text(value, function);
  if (separator.empty()) throw Failure(detail::formatted("{}(): an empty separator", function));
  return separator;
}

Value text_list(const std::vector<std::string_view>& pieces, Meter& meter,
                Sequence type = Sequence::kList) {
  std::vector<Value> items;
  meter.charge(pieces.size() * Meter::kElement);
  for (const std::string_view piece : pieces) {
    items.push_back(new_text(std::string(piece), meter));
  }
  return new_list(std::move(items), meter, type);
}

template <bool kLeft, bool kRight>
Value strip(const Value& receiver, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("strip", {"chars"});
  std::optional<std::string_view> set;
  if (!bound[0].is_absent() && !bound[0].is_none()) set = want_text(bound[0], "strip()");
  std::string_view text = *receiver.text();
  if (kLeft) text = strip_left(text, set);
  if (kRight) text = strip_right(text, set);
  return new_text(std::string(text), meter);
}

template <bool kFromEnd>
Value split_text(const Value& receiver, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("split", {"sep", "maxsplit"});
  const std::string& text = *receiver.text();
  const int64_t limit = want_integer(bound[1], "split()", -1);
  meter.charge(text.size());
  if (bound[0].is_absent() || bound[0].is_none()) {
    return text_list(kFromEnd ? split_last_at_spaces(text, limit) : split_at_spaces(text, limit),
                     meter);
  }
  const std::string& separator = separator_of(bound[0], "split");
  charge_search(text, separator, meter);
  return text_list(kFromEnd ? split_last(text, separator, limit) : split(text, separator, limit),
                   meter);
}

Value split_lines(const Value& receiver, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("splitlines", {"keepends"});
  meter.charge(receiver.text()->size() * 2);
  return text_list(lines(*receiver.text(), bound[0].truth()), meter);
}

template <bool kLast>
Value partition(const Value& receiver, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("partition", {"sep"});
  const std::string &text = *receiver.text(), &separator = separator_of(bound[0], "partition");
  charge_search(text, separator, meter);
  const size_t at = kLast ? text.rfind(separator) : text.find(separator);
  const std::string_view whole = text;
  if (at == std::string::npos) {
    return kLast ? text_list({"", "", whole}, meter, Sequence::kTuple)
                 : text_list({whole, "", ""}, meter, Sequence::kTuple);
  }
  return text_list({whole.substr(0, at), separator, whole.substr(at + separator.size())}, meter,
                   Sequence::kTuple);
}

// The part between two positions, as for a slice, and where it begins; null when it is before its
// own beginning, where not even an empty text is found.
struct Window {
  std::optional<std::string_view> text;
  int64_t begin = 0;
};

Window window(const Value& receiver, const Value& start, const Value& stop, Meter& meter) {
  const std::string_view text = *receiver.text();
  const auto is_open = [](const Value& value) { return value.is_absent() || value.is_none(); };
  if (is_open(start) && is_open(stop)) return {text};
  meter.charge(text.size() * 4);
  const auto pieces = characters(text);
  const auto size = std::ssize(pieces);
  const auto place = [&](const Value& value, int64_t absent) {
    if (is_open(value)) return absent;
    const int64_t at = want_integer(value, "a position");
    return std::max<int64_t>(0, at < 0 ? at + size : at);
  };
  const int64_t begin = place(start, 0), end = std::min(place(stop, size), size);
  if (begin > end) return {std::nullopt, begin};
  const auto offset = [&](int64_t at) {
    return at < size ? static_cast<size_t>(pieces[at].data() - text.data()) : text.size();
  };
  return {text.substr(offset(begin), offset(end) - offset(begin)), begin};
}

template <bool kAtEnd>
Value has_affix(const Value& receiver, const Arguments& arguments, Meter& meter) {
  const char* name = kAtEnd ? "endswith" : "startswith";
  const auto bound = arguments.bind(name, {"affix", "start", "end"});
  const Window part = window(receiver, bound[1], bound[2], meter);
  const auto fits = [&](const Value& affix) {
    const std::string& wanted = want_text(affix, name);
    meter.charge(wanted.size());
    return part.text && (kAtEnd ? part.text->ends_with(wanted) : part.text->starts_with(wanted));
  };
  if (bound[0].list() && bound[0].list()->is_tuple()) {
    return std::ranges::any_of(bound[0].list()->items, fits);
  }
  return fits(bound[0]);
}

template <bool kAtEnd>
Value without_affix(const Value& receiver, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("removeprefix or removesuffix", {"affix"});
  std::string_view text = *receiver.text();
  const std::string& affix = want_text(bound[0], "removeprefix()");
  if (!kAtEnd && text.starts_with(affix)) text.remove_prefix(affix.size());
  if (kAtEnd && text.ends_with(affix)) text.remove_suffix(affix.size());
  return new_text(std::string(text), meter);
}

Value replace_text(const Value& receiver, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("replace", {"old", "new", "count"});
  const std::string& text = *receiver.text();
  const std::string &from = want_text(bound[0], "replace()"),
                    &to = want_text(bound[1], "replace()");
  const int64_t limit = want_integer(bound[2], "replace()", -1);
  charge_search(text, from, meter);
  // Both sizes are below 2^25, so that their product fits.
  const size_t most = from.empty() ? text.size() + 1 : text.size() / from.size();
  meter.charge((limit < 0 ? most : std::min<size_t>(most, limit)) * to.size());
  return new_text(replace(text, from, to, limit), meter);
}

template <bool kLast, bool kMustBeThere>
Value find_text(const Value& receiver, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("find", {"sub", "start", "end"});
  const std::string& part = want_text(bound[0], "find()");
  const Window range = window(receiver, bound[1], bound[2], meter);
  const std::string_view text = range.text.value_or("");
  charge_search(text, part, meter);
  const size_t found = kLast ? text.rfind(part) : text.find(part);
  if (range.text && found != std::string::npos) {
    return range.begin + character_count(text.substr(0, found));
  }
  if (kMustBeThere) throw Failure("index(): the text is not found");
  return int64_t{-1};
}

Value count_text(const Value& receiver, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("count", {"sub", "start", "end"});
  const std::string& part = want_text(bound[0], "count()");
  const Window range = window(receiver, bound[1], bound[2], meter);
  if (!range.text) return int64_t{0};
  charge_search(*range.text, part, meter);
  if (part.empty()) return character_count(*range.text) + 1;
  return std::ssize(split(*range.text, part, -1)) - 1;
}

Value join_texts(const Value& receiver, const Arguments& arguments, Meter& meter) {
  const auto bound = arguments.bind("join", {"items"});
  std::string result;
  bool first = true;
  for (const Value& item : elements(bound[0], meter)) {
    const std::string& text = want_text(item, "join()");
    meter.charge(text.size() + receiver.text()->size());
    if (!first) result += *receiver.text();
    result += text;
    first = false;
  }
  return new_text(std::move(result), meter);
}

}  // namespace

const Methods& text_searches() {
  static const Methods methods = {{"strip", strip<true, true>},
                                  {"lstrip", strip<true, false>},
                                  {"rstrip", strip<false, true>},
                                  {"split", split_text<false>},
                                  {"rsplit", split_text<true>},
                                  {"splitlines", split_lines},
                                  {"partition", partition<false>},
                                  {"rpartition", partition<true>},
                                  {"startswith", has_affix<false>},
                                  {"endswith", has_affix<true>},
                                  {"removeprefix", without_affix<false>},
                                  {"removesuffix", without_affix<true>},
                                  {"replace", replace_text},
                                  {"find", find_text<false, false>},
                                  {"rfind", find_text<true, false>},
                                  {"index", find_text<false, true>},
                                  {"rindex", find_text<true, true>},
                                  {"count", count_text},
                                  {"join", join_texts}};
  return methods;
}

}  // namespace slice::detail::jinja
