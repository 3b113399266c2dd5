#include "libslice/text/jinja/expressions.h"

#include <algorithm>

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
  ExpressionPtr left = parse_power();
  while (at_operator("*") || at_operator("/") || at_operator("//") || at_operator("%")) {
    const Token sign = take();
    left = make(Kind::kBinary, sign.line, sign.text, std::move(left), parse_power());
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_power() {
  ExpressionPtr left = parse_unary(true);
  while (at_operator("**")) {
    const int line = take().line;
    left = make(Kind::kBinary, line, "**", std::move(left), parse_unary(true));
  }
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

}  // namespace slice::detail::jinja
