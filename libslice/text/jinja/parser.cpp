#include "libslice/text/jinja/parser.h"

#include <algorithm>
#include <set>
#include <utility>

#include "libslice/text/jinja/expressions.h"
#include "libslice/text/jinja/targets.h"

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
  Call parse_call(const Token& tag);
  FilterBlock parse_filter_block(const Token& tag);
  With parse_with(const Token& tag);
  Block parse_named_block(const Token& tag);
  Output parse_print();
  void parse_signature(Macro& macro);
  void parse_macro_body(const Token& tag, std::string_view end, Macro& macro);
  void end_tag();

  ExpressionParser expressions_;
  int loops_ = 0;  // loops that the current statement may leave
  std::set<std::string> blocks_;
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
  const std::string& name = tag.text;
  if (name == "if") return {tag.line, parse_if(tag)};
  if (name == "for") return {tag.line, parse_for(tag)};
  if (name == "set") return {tag.line, parse_set(tag)};
  if (name == "macro") return {tag.line, parse_macro(tag)};
  if (name == "call") return {tag.line, parse_call(tag)};
  if (name == "filter") return {tag.line, parse_filter_block(tag)};
  if (name == "with") return {tag.line, parse_with(tag)};
  if (name == "block") return {tag.line, parse_named_block(tag)};
  if (name == "print") return {tag.line, parse_print()};
  if (name == "generation") {
    return {tag.line, Generation{parse_closed_block(tag, "endgeneration")}};
  }
  if (name == "break" || name == "continue") {
    if (loops_ == 0) expressions_.fail(tag.line, detail::formatted("'{}' outside a loop", name));
    end_tag();
    if (name == "break") return {tag.line, Break()};
    return {tag.line, Continue()};
  }
  if (name.starts_with("end") || name == "else" || name == "elif") {
    expressions_.fail(tag.line, detail::formatted("'{}' ends no block", name));
  }
  expressions_.fail(tag.line, detail::formatted("the statement '{}' is not supported", name));
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
  result.target = parse_target(expressions_, false);
  if (!expressions_.skip_name("in")) expressions_.fail(tag.line, "'for' without 'in'");
  result.items = expressions_.parse_list(false);
  if (expressions_.skip_name("if")) result.condition = expressions_.parse_expression();
  result.recursive = expressions_.skip_name("recursive");
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
  result.target = parse_target(expressions_, true);
  if (expressions_.skip_operator("=")) {
    result.value = expressions_.parse_list();
    end_tag();
    return result;
  }
  if (expressions_.skip_operator("|")) result.filter = expressions_.parse_filter_chain();
  result.body = parse_closed_block(tag, "endset");
  return result;
}

void Parser::parse_signature(Macro& macro) {
  expressions_.expect_operator("(");
  while (!expressions_.skip_operator(")")) {
    if (!macro.parameters.empty()) expressions_.expect_operator(",");
    macro.parameters.push_back(expressions_.expect(Token::Kind::kName, "a parameter").text);
    macro.defaults.push_back(expressions_.skip_operator("=") ? expressions_.parse_expression()
                                                             : nullptr);
    if (macro.parameters.back() == "caller" && !macro.defaults.back()) {
      expressions_.fail(expressions_.current().line, "the parameter 'caller' without a default");
    }
  }
}

// What a macro may be given beside its parameters is what its body asks for.
void Parser::parse_macro_body(const Token& tag, std::string_view end, Macro& macro) {
  const auto read = [&](const char* name) { return expressions_.times_read(name); };
  const int more = read("varargs"), named = read("kwargs"), caller = read("caller");
  macro.body = parse_closed_block(tag, end);
  macro.takes_more = read("varargs") > more;
  macro.takes_named = read("kwargs") > named;
  macro.takes_caller = read("caller") > caller;
}

Macro Parser::parse_macro(const Token& tag) {
  Macro result;
  result.name = expressions_.expect(Token::Kind::kName, "the name of a macro").text;
  parse_signature(result);
  parse_macro_body(tag, "endmacro", result);
  return result;
}

Call Parser::parse_call(const Token& tag) {
  Call result;
  result.caller.name = "caller";
  if (expressions_.at_operator("(")) parse_signature(result.caller);
  result.call = expressions_.parse_expression();
  if (result.call->kind != Expression::Kind::kCall) {
    expressions_.fail(tag.line, "'call' without a call");
  }
  parse_macro_body(tag, "endcall", result.caller);
  return result;
}

FilterBlock Parser::parse_filter_block(const Token& tag) {
  FilterBlock result;
  result.filter = expressions_.parse_filter_chain();
  result.body = parse_closed_block(tag, "endfilter");
  return result;
}

With Parser::parse_with(const Token& tag) {
  With result;
  while (expressions_.current().kind != Token::Kind::kBlockEnd) {
    if (!result.targets.empty()) expressions_.expect_operator(",");
    result.targets.push_back(parse_target(expressions_, false));
    expressions_.expect_operator("=");
    result.values.push_back(expressions_.parse_expression());
  }
  result.body = parse_block(tag, "endwith");
  return result;
}

Block Parser::parse_named_block(const Token& tag) {
  const std::string name = expressions_.expect(Token::Kind::kName, "the name of a block").text;
  if (!blocks_.insert(name).second) {
    expressions_.fail(tag.line, detail::formatted("the block '{}' is defined twice", name));
  }
  Block result;
  result.sees_loops = expressions_.skip_name("scoped");
  if (expressions_.at_name("required")) {
    expressions_.fail(tag.line, "a 'required' block is not supported");
  }
  const int loops = std::exchange(loops_, 0);
  end_tag();
  parse_body_until(tag, {"endblock"}, result.body);
  expressions_.skip_name(name);
  end_tag();
  loops_ = loops;
  return result;
}

Output Parser::parse_print() {
  Output result{expressions_.parse_expression()};
  end_tag();
  return result;
}

}  // namespace

Body parse_template(std::string_view source, const std::string& name) {
  return Parser(tokenize_template(source, name), name).run();
}

}  // namespace slice::detail::jinja
