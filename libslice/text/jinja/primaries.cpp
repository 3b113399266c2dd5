#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "libslice/text/jinja/expressions.h"

namespace slice::detail::jinja {

using Kind = Expression::Kind;

ExpressionPtr ExpressionParser::parse_primary() {
  const Nesting nesting(*this);
  const int line = current().line;
  switch (current().kind) {
    case Token::Kind::kName:
      return parse_name();
    case Token::Kind::kInteger:
    case Token::Kind::kFloat:
      return parse_number();
    case Token::Kind::kString: {
      std::string text;
      while (current().kind == Token::Kind::kString) text += take().text;
      return make({Kind::kConstant, line, 1, {}, Value(std::move(text))});
    }
    default:
      break;
  }
  if (skip_operator("[")) return parse_bracketed(Kind::kList, "]");
  if (skip_operator("{")) return parse_dict();
  if (skip_operator("(")) {
    if (at_operator(")")) return parse_bracketed(Kind::kTuple, ")");
    ExpressionPtr inner = parse_list();
    expect_operator(")");
    return inner;
  }
  fail(line, detail::formatted("want an expression, got '{}'", current().text));
}

ExpressionPtr ExpressionParser::parse_name() {
  const Token name = take();
  const auto constant = [&](Value value) {
    return make({Kind::kConstant, name.line, 1, {}, std::move(value)});
  };
  if (name.text == "true" || name.text == "True") return constant(true);
  if (name.text == "false" || name.text == "False") return constant(false);
  if (name.text == "none" || name.text == "None") return constant(None());
  names_[name.text]++;
  return make({Kind::kName, name.line, 1, name.text});
}

ExpressionPtr ExpressionParser::parse_number() {
  const Token number = take();
  const char *begin = number.text.data(), *end = begin + number.text.size();
  Value value;
  std::from_chars_result result{};
  if (number.kind == Token::Kind::kInteger) {
    int64_t integer = 0;
    result = std::from_chars(begin, end, integer);
    value = integer;
  } else {
    double real = 0;
    result = std::from_chars(begin, end, real);
    if (result.ec == std::errc::result_out_of_range) {  // Python's are infinite, or 0
      real = std::strtod(number.text.c_str(), nullptr);
      result.ec = {};
    }
    value = real;
  }
  if (result.ec != std::errc())
    fail(number.line, detail::formatted("{} is too large", number.text));
  return make({Kind::kConstant, number.line, 1, {}, std::move(value)});
}

ExpressionPtr ExpressionParser::parse_bracketed(Kind kind, std::string_view close) {
  Expression list{kind, current().line};
  while (!skip_operator(close)) {
    if (!list.parts.empty()) {
      expect_operator(",");
      if (skip_operator(close)) break;
    }
    list.parts.push_back(parse_expression());
  }
  return make(std::move(list));
}

ExpressionPtr ExpressionParser::parse_dict() {
  Expression dict{Kind::kDict, current().line};
  while (!skip_operator("}")) {
    if (!dict.parts.empty()) {
      expect_operator(",");
      if (skip_operator("}")) break;
    }
    dict.parts.push_back(parse_expression());
    expect_operator(":");
    dict.parts.push_back(parse_expression());
  }
  return make(std::move(dict));
}

ExpressionPtr ExpressionParser::parse_postfix(ExpressionPtr subject) {
  while (true) {
    const int line = current().line;
    if (skip_operator(".")) {
      if (current().kind == Token::Kind::kInteger) {
        ExpressionPtr index = parse_number();
        subject = make(Kind::kSubscript, line, "", std::move(subject), std::move(index));
      } else {
        std::string name = expect(Token::Kind::kName, "the name of an attribute").text;
        subject = make(Kind::kAttribute, line, std::move(name), std::move(subject));
      }
    } else if (skip_operator("[")) {
      subject = parse_subscript(std::move(subject));
    } else if (at_operator("(")) {
      Expression call{Kind::kCall, line};
      call.parts.push_back(std::move(subject));
      parse_arguments(call);
      subject = make(std::move(call));
    } else {
      return subject;
    }
  }
}

ExpressionPtr ExpressionParser::parse_subscript(ExpressionPtr subject) {
  Expression slice{Kind::kSlice, current().line};
  slice.parts.push_back(std::move(subject));
  const auto parse_bound = [&] {
    const bool absent = at_operator(":") || at_operator("]");
    slice.parts.push_back(absent ? nullptr : parse_expression());
  };
  parse_bound();
  if (slice.parts[1] && skip_operator("]")) {
    slice.kind = Kind::kSubscript;
    return make(std::move(slice));
  }
  expect_operator(":");
  parse_bound();
  if (skip_operator(":")) parse_bound();
  slice.parts.resize(4);
  expect_operator("]");
  return make(std::move(slice));
}

ExpressionPtr ExpressionParser::parse_filters(ExpressionPtr subject) {
  while (true) {
    if (at_operator("|")) {
      const int line = take().line;
      subject = parse_filter(std::move(subject), line);
    } else if (at_name("is")) {
      subject = parse_test(std::move(subject));
    } else if (at_operator("(")) {  // the result of a filter is called
      subject = parse_postfix(std::move(subject));
    } else {
      return subject;
    }
  }
}

ExpressionPtr ExpressionParser::parse_filter(ExpressionPtr subject, int line) {
  Expression filter{Kind::kFilter, line};
  filter.text = expect(Token::Kind::kName, "the name of a filter").text;
  filter.parts.push_back(std::move(subject));
  if (at_operator("(")) parse_arguments(filter);
  return make(std::move(filter));
}

ExpressionPtr ExpressionParser::parse_filter_chain() {
  const int line = current().line;
  return parse_filters(parse_filter(make({Kind::kHole, line}), line));
}

ExpressionPtr ExpressionParser::parse_test(ExpressionPtr subject) {
  constexpr std::string_view kNotArguments[] = {"else", "or", "and", "if", "is", "in", "not"};
  Expression test{Kind::kTest, take().line};
  const bool negated = skip_name("not");
  test.text = expect(Token::Kind::kName, "the name of a test").text;
  if (at_name("is")) fail(current().line, "a test of a test needs parentheses");
  test.parts.push_back(std::move(subject));
  const Token::Kind kind = current().kind;
  const bool has_bare_argument =
      (kind == Token::Kind::kName && std::ranges::count(kNotArguments, current().text) == 0) ||
      kind == Token::Kind::kString || kind == Token::Kind::kInteger ||
      kind == Token::Kind::kFloat || at_operator("[") || at_operator("{");
  if (at_operator("(")) {
    parse_arguments(test);
  } else if (has_bare_argument) {
    test.parts.push_back(parse_postfix(parse_primary()));
    test.labels.emplace_back();
  }
  const int line = test.line;
  ExpressionPtr result = make(std::move(test));
  return negated ? make(Kind::kUnary, line, "not", std::move(result)) : std::move(result);
}

void ExpressionParser::parse_arguments(Expression& call) {
  expect_operator("(");
  while (!skip_operator(")")) {
    if (call.parts.size() > 1) {
      expect_operator(",");
      if (skip_operator(")")) return;
    }
    std::string label;
    const Token& next = tokens_[std::min(position_ + 1, tokens_.size() - 1)];
    if (current().kind == Token::Kind::kName && next.kind == Token::Kind::kOperator &&
        next.text == "=") {
      label = take().text;
      take();
    } else if (at_operator("*") || at_operator("**")) {
      label = take().text;
    }
    if (label.empty() && !call.labels.empty() && !call.labels.back().empty()) {
      fail(current().line, "a positional argument after a named one");
    }
    call.labels.push_back(std::move(label));
    call.parts.push_back(parse_expression());
  }
}

}  // namespace slice::detail::jinja
