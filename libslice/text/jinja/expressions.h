#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libslice/base/detail/check.h"
#include "libslice/text/jinja/lexer.h"
#include "libslice/text/jinja/tree.h"

namespace slice::detail::jinja {

/// Tokens to trees of expressions, by Jinja's precedences: if-else, or, and, not, comparisons,
/// + -, ~, * / // %, **, signs, then attributes, subscripts, calls, filters and tests.
class ExpressionParser {
 public:
  ExpressionParser(std::vector<Token> tokens, const std::string& name)
      : tokens_(std::move(tokens)), name_(name) {}

  ExpressionPtr parse_expression();
  /// Without if-else: there `if` belongs to a loop.
  ExpressionPtr parse_or();
  /// One expression, or a tuple of several between commas.
  ExpressionPtr parse_list(bool with_conditional = true);
  /// `name(…) | name …`, applied to a hole.
  ExpressionPtr parse_filter_chain();

  /// How often a name was read, as a value, so far.
  int times_read(const std::string& name) const {
    const auto found = names_.find(name);
    return found == names_.end() ? 0 : found->second;
  }

  const Token& current() const { return tokens_[position_]; }
  bool at(Token::Kind kind, std::string_view text) const;
  bool at_name(std::string_view text) const { return at(Token::Kind::kName, text); }
  bool at_operator(std::string_view text) const { return at(Token::Kind::kOperator, text); }
  Token take() { return tokens_[tokens_.size() - 1 == position_ ? position_ : position_++]; }
  /// Consumes the current token if it is this one.
  bool skip(Token::Kind kind, std::string_view text);
  bool skip_operator(std::string_view text) { return skip(Token::Kind::kOperator, text); }
  bool skip_name(std::string_view text) { return skip(Token::Kind::kName, text); }
  Token expect(Token::Kind kind, std::string_view what);
  void expect_operator(std::string_view text);
  [[noreturn]] void fail(int line, std::string_view message) const;

  /// Counts the depth of the parser's recursion.
  class Nesting {
   public:
    explicit Nesting(ExpressionParser& parser);
    ~Nesting() { --parser_.nesting_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    ExpressionParser& parser_;
  };

 private:
  using Kind = Expression::Kind;

  ExpressionPtr make(Expression expression) const;
  ExpressionPtr make(Kind kind, int line, std::string text, ExpressionPtr first,
                     ExpressionPtr second = nullptr) const;
  ExpressionPtr parse_and();
  ExpressionPtr parse_not();
  ExpressionPtr parse_comparison();
  ExpressionPtr parse_sum();
  ExpressionPtr parse_concatenation();
  ExpressionPtr parse_product();
  ExpressionPtr parse_power();
  ExpressionPtr parse_unary(bool with_filters);
  ExpressionPtr parse_primary();
  ExpressionPtr parse_name();
  ExpressionPtr parse_number();
  ExpressionPtr parse_bracketed(Kind kind, std::string_view close);
  ExpressionPtr parse_dict();
  ExpressionPtr parse_postfix(ExpressionPtr subject);
  ExpressionPtr parse_subscript(ExpressionPtr subject);
  ExpressionPtr parse_filters(ExpressionPtr subject);
  ExpressionPtr parse_filter(ExpressionPtr subject, int line);
  ExpressionPtr parse_test(ExpressionPtr subject);
  void parse_arguments(Expression& call);

  std::vector<Token> tokens_;
  size_t position_ = 0;
  const std::string& name_;
  int nesting_ = 0;
  std::map<std::string, int> names_;
};

}  // namespace slice::detail::jinja
