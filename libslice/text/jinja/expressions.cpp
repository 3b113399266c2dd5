#include "libslice/text/jinja/expressions.h"

#include <algorithm>
#include <charconv>

namespace slice::detail::jinja {

using Kind = Expression::Kind;

void ExpressionParser::fail(int line, std::string_view message) const {
  throw FormatError(detail::formatted("{}: line {}: {}", name_, line, message));
}

bool ExpressionParser::at(Token::Kind kind, std::string_view text) const {
  return current().kind == kind && current().text == text;
}

bool ExpressionParser::skip(Token::Kind kind, std::string_view text) {
  const bool here = at(kind, text);
  if (here) take();
  return here;
}

Token ExpressionParser::expect(Token::Kind kind, std::string_view what) {
  if (current().kind != kind) {
    fail(current().line, detail::formatted("want {}, got '{}'", what, current().text));
  }
  return take();
}

void ExpressionParser::expect_operator(std::string_view text) {
  if (!skip_operator(text)) {
    fail(current().line, detail::formatted("want '{}', got '{}'", text, current().text));
  }
}

ExpressionParser::Nesting::Nesting(ExpressionParser& parser) : parser_(parser) {
  if (++parser_.nesting_ > kMaxTreeDepth) {
    parser_.fail(parser_.current().line,
                 detail::formatted("nested more than {} deep", kMaxTreeDepth));
  }
}

ExpressionPtr ExpressionParser::make(Expression expression) const {
  for (const ExpressionPtr& part : expression.parts) {
    if (part) expression.depth = std::max(expression.depth, part->depth + 1);
  }
  // Chains like a.b.c or a + b + c grow without recursion of the parser.
  if (expression.depth > kMaxTreeDepth) {
    fail(expression.line,
         detail::formatted("an expression nested more than {} deep", kMaxTreeDepth));
  }
  return std::make_unique<const Expression>(std::move(expression));
}

ExpressionPtr ExpressionParser::make(Kind kind, int line, std::string text, ExpressionPtr first,
                                     ExpressionPtr second) const {
  Expression expression{kind, line, 1, std::move(text)};
  expression.parts.push_back(std::move(first));
  if (second) expression.parts.push_back(std::move(second));
  return make(std::move(expression));
}

ExpressionPtr ExpressionParser::parse_list(bool with_conditional) {
  const int line = current().line;
  const auto parse_one = [&] { return with_conditional ? parse_expression() : parse_or(); };
  ExpressionPtr first = parse_one();
  if (!at_operator(",")) return first;
  Expression tuple{Kind::kTuple, line};
  tuple.parts.push_back(std::move(first));
  while (skip_operator(",")) {
    const bool ends = current().kind == Token::Kind::kVariableEnd ||
                      current().kind == Token::Kind::kBlockEnd || at_operator(")");
    if (ends) break;
    tuple.parts.push_back(parse_one());
  }
  return make(std::move(tuple));
}

ExpressionPtr ExpressionParser::parse_expression() {
  const Nesting nesting(*this);
  ExpressionPtr expression = parse_or();
  while (at_name("if")) {
    Expression conditional{Kind::kConditional, take().line};
    conditional.parts.push_back(parse_or());
    conditional.parts.push_back(std::move(expression));
    conditional.parts.push_back(skip_name("else") ? parse_expression() : nullptr);
    expression = make(std::move(conditional));
  }
  return expression;
}

ExpressionPtr ExpressionParser::parse_or() {
  ExpressionPtr left = parse_and();
  while (at_name("or")) {
    const int line = take().line;
    left = make(Kind::kOr, line, "or", std::move(left), parse_and());
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_and() {
  ExpressionPtr left = parse_not();
  while (at_name("and")) {
    const int line = take().line;
    left = make(Kind::kAnd, line, "and", std::move(left), parse_not());
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_not() {
  if (!at_name("not")) return parse_comparison();
  const Nesting nesting(*this);
  const int line = take().line;
  return make(Kind::kUnary, line, "not", parse_not());
}

ExpressionPtr ExpressionParser::parse_comparison() {
  constexpr std::string_view kComparisons[] = {"==", "!=", "<", "<=", ">", ">="};
  Expression comparison{Kind::kCompare, current().line};
  comparison.parts.push_back(parse_sum());
  while (true) {
    const Token::Kind kind = current().kind;
    if (kind == Token::Kind::kOperator && std::ranges::count(kComparisons, current().text) > 0) {
      comparison.labels.push_back(take().text);
    } else if (skip_name("in")) {
      comparison.labels.emplace_back("in");
    } else if (at_name("not") && tokens_[position_ + 1].kind == Token::Kind::kName &&
               tokens_[position_ + 1].text == "in") {
      take();
      take();
      comparison.labels.emplace_back("not in");
    } else {
      break;
    }
    comparison.parts.push_back(parse_sum());
  }
  if (comparison.labels.empty()) return std::move(comparison.parts.front());
  return make(std::move(comparison));
}

ExpressionPtr ExpressionParser::parse_sum() {
  ExpressionPtr left = parse_concatenation();
  while (at_operator("+") || at_operator("-")) {
    const Token sign = take();
    left = make(Kind::kBinary, sign.line, sign.text, std::move(left), parse_concatenation());
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_concatenation() {
  ExpressionPtr left = parse_product();
  while (at_operator("~")) {
    const int line = take().line;
    left = make(Kind::kBinary, line, "~", std::move(left), parse_product());
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_product() {
  ExpressionPtr left = parse_unary(true);
  while (at_operator("*") || at_operator("/") || at_operator("//") || at_operator("%")) {
    const Token sign = take();
    left = make(Kind::kBinary, sign.line, sign.text, std::move(left), parse_unary(true));
  }
  if (at_operator("**")) fail(current().line, "'**' is not supported");
  return left;
}

ExpressionPtr ExpressionParser::parse_unary(bool with_filters) {
  ExpressionPtr subject;
  if (at_operator("-") || at_operator("+")) {
    const Nesting nesting(*this);
    const Token sign = take();
    subject = make(Kind::kUnary, sign.line, sign.text, parse_unary(false));
  } else {
    subject = parse_primary();
  }
  subject = parse_postfix(std::move(subject));
  return with_filters ? parse_filters(std::move(subject)) : std::move(subject);
}

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
      Expression filter{Kind::kFilter, take().line};
      filter.text = expect(Token::Kind::kName, "the name of a filter").text;
      filter.parts.push_back(std::move(subject));
      if (at_operator("(")) parse_arguments(filter);
      subject = make(std::move(filter));
    } else if (at_name("is")) {
      subject = parse_test(std::move(subject));
    } else if (at_operator("(")) {  // the result of a filter is called
      subject = parse_postfix(std::move(subject));
    } else {
      return subject;
    }
  }
}

ExpressionPtr ExpressionParser::parse_test(ExpressionPtr subject) {
  constexpr std::string_view kNotArguments[] = {"else", "or", "and", "if", "is", "in", "not"};
  Expression test{Kind::kTest, take().line};
  const bool negated = skip_name("not");
  test.text = expect(Token::Kind::kName, "the name of a test").text;
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
    if (at_operator("*") || at_operator("**")) {
      fail(current().line, "arguments with '*' or '**' are not supported");
    }
    std::string label;
    const Token& next = tokens_[std::min(position_ + 1, tokens_.size() - 1)];
    if (current().kind == Token::Kind::kName && next.kind == Token::Kind::kOperator &&
        next.text == "=") {
      label = take().text;
      take();
    } else if (!call.labels.empty() && !call.labels.back().empty()) {
      fail(current().line, "a positional argument after a named one");
    }
    call.labels.push_back(std::move(label));
    call.parts.push_back(parse_expression());
  }
}

}  // namespace slice::detail::jinja
