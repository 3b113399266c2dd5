#include "libslice/text/jinja/parser.h"

#include <algorithm>
#include <utility>

#include "libslice/text/jinja/expressions.h"

namespace slice::detail::jinja {
namespace {

class Parser {
 public:
  Parser(std::vector<Token> tokens, const std::string& name)
      : expressions_(std::move(tokens), name) {}

  Body run() {
    Body body = parse_body({});
    if (expressions_.current().kind != Token::Kind::kEnd) {
      const Token tag = expressions_.take();
      expressions_.fail(tag.line, detail::formatted("'{}' ends no block", tag.text));
    }
    return body;
  }

 private:
  using Names = std::vector<std::string_view>;

  // Up to one of the tags in `ends`, which is then the current token.
  Body parse_body(const Names& ends);
  Statement parse_statement(const Token& tag);
  // A body and the one tag that ends it.
  Body parse_block(const Token& tag, std::string_view end);
  // One that cannot leave a loop around it.
  Body parse_closed_block(const Token& tag, std::string_view end);
  std::string_view parse_body_until(const Token& tag, const Names& ends, Body& body);
  If parse_if(const Token& tag);
  For parse_for(const Token& tag);
  Set parse_set(const Token& tag);
  Macro parse_macro(const Token& tag);
  Target parse_target(bool may_be_member);
  void end_tag();

  ExpressionParser expressions_;
  int loops_ = 0;  // loops that the current statement may leave
};

void Parser::end_tag() { expressions_.expect(Token::Kind::kBlockEnd, "'%}'"); }

Body Parser::parse_body(const Names& ends) {
  Body body;
  while (true) {
    const Token& token = expressions_.current();
    const int line = token.line;
    if (token.kind == Token::Kind::kEnd) return body;
    if (token.kind == Token::Kind::kData) {
      body.push_back({line, Data{expressions_.take().text}});
    } else if (token.kind == Token::Kind::kVariableBegin) {
      expressions_.take();
      body.push_back({line, Output{expressions_.parse_list()}});
      expressions_.expect(Token::Kind::kVariableEnd, "'}}'");
    } else {
      expressions_.expect(Token::Kind::kBlockBegin, "text or a tag");
      if (std::ranges::count(ends, expressions_.current().text) > 0) return body;
      body.push_back(parse_statement(expressions_.expect(Token::Kind::kName, "a statement")));
    }
  }
}

std::string_view Parser::parse_body_until(const Token& tag, const Names& ends, Body& body) {
  const ExpressionParser::Nesting nesting(expressions_);
  body = parse_body(ends);
  for (const std::string_view end : ends) {
    if (expressions_.skip_name(end)) return end;
  }
  expressions_.fail(tag.line, detail::formatted("'{}' without '{}'", tag.text, ends.back()));
}

Body Parser::parse_block(const Token& tag, std::string_view end) {
  Body body;
  end_tag();
  parse_body_until(tag, {end}, body);
  end_tag();
  return body;
}

Body Parser::parse_closed_block(const Token& tag, std::string_view end) {
  const int loops = std::exchange(loops_, 0);
  Body body = parse_block(tag, end);
  loops_ = loops;
  return body;
}

Statement Parser::parse_statement(const Token& tag) {
  if (tag.text == "if") return {tag.line, parse_if(tag)};
  if (tag.text == "for") return {tag.line, parse_for(tag)};
  if (tag.text == "set") return {tag.line, parse_set(tag)};
  if (tag.text == "macro") return {tag.line, parse_macro(tag)};
  if (tag.text == "generation") {
    return {tag.line, Generation{parse_closed_block(tag, "endgeneration")}};
  }
  if (tag.text == "break" || tag.text == "continue") {
    if (loops_ == 0)
      expressions_.fail(tag.line, detail::formatted("'{}' outside a loop", tag.text));
    end_tag();
    if (tag.text == "break") return {tag.line, Break()};
    return {tag.line, Continue()};
  }
  if (tag.text.starts_with("end") || tag.text == "else" || tag.text == "elif") {
    expressions_.fail(tag.line, detail::formatted("'{}' ends no block", tag.text));
  }
  expressions_.fail(tag.line, detail::formatted("the statement '{}' is not supported", tag.text));
}

If Parser::parse_if(const Token& tag) {
  If result;
  std::string_view end = "elif";
  while (end == "elif") {
    If::Branch branch{expressions_.parse_list(), {}};
    end_tag();
    end = parse_body_until(tag, {"elif", "else", "endif"}, branch.body);
    result.branches.push_back(std::move(branch));
  }
  if (end == "else") {
    result.otherwise = parse_block(tag, "endif");
  } else {
    end_tag();
  }
  return result;
}

For Parser::parse_for(const Token& tag) {
  For result;
  result.target = parse_target(false);
  if (!expressions_.skip_name("in")) expressions_.fail(tag.line, "'for' without 'in'");
  result.items = expressions_.parse_list(false);
  if (expressions_.skip_name("if")) result.condition = expressions_.parse_expression();
  if (expressions_.at_name("recursive")) {
    expressions_.fail(tag.line, "a recursive loop is not supported");
  }
  end_tag();
  ++loops_;
  const std::string_view end = parse_body_until(tag, {"else", "endfor"}, result.body);
  --loops_;
  if (end == "else") {
    result.otherwise = parse_block(tag, "endfor");
  } else {
    end_tag();
  }
  return result;
}

Set Parser::parse_set(const Token& tag) {
  Set result;
  result.target = parse_target(true);
  if (expressions_.skip_operator("=")) {
    result.value = expressions_.parse_list();
    end_tag();
    return result;
  }
  if (expressions_.at_operator("|")) {
    expressions_.fail(tag.line, "a filter on a block 'set' is not supported");
  }
  result.body = parse_closed_block(tag, "endset");
  return result;
}

Macro Parser::parse_macro(const Token& tag) {
  Macro result;
  result.name = expressions_.expect(Token::Kind::kName, "the name of a macro").text;
  expressions_.expect_operator("(");
  while (!expressions_.skip_operator(")")) {
    if (!result.parameters.empty()) expressions_.expect_operator(",");
    result.parameters.push_back(expressions_.expect(Token::Kind::kName, "a parameter").text);
    result.defaults.push_back(expressions_.skip_operator("=") ? expressions_.parse_expression()
                                                              : nullptr);
  }
  result.body = parse_closed_block(tag, "endmacro");
  return result;
}

Target Parser::parse_target(bool may_be_member) {
  Target target;
  const bool in_parentheses = expressions_.skip_operator("(");
  const auto is_end = [&] {
    return expressions_.at_name("in") || expressions_.at_operator("=") ||
           expressions_.at_operator(")") || expressions_.current().kind == Token::Kind::kBlockEnd;
  };
  do {
    if (target.unpacks && is_end()) break;  // a comma at the end
    target.names.push_back(expressions_.expect(Token::Kind::kName, "a name").text);
    target.unpacks = target.unpacks || expressions_.at_operator(",");
  } while (expressions_.skip_operator(","));
  if (in_parentheses) expressions_.expect_operator(")");
  if (may_be_member && !target.unpacks && expressions_.skip_operator(".")) {
    target.member = expressions_.expect(Token::Kind::kName, "the name of an attribute").text;
  }
  return target;
}

}  // namespace

Body parse_template(std::string_view source, const std::string& name) {
  return Parser(tokenize_template(source, name), name).run();
}

}  // namespace slice::detail::jinja
