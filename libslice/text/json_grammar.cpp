#include "libslice/text/json_grammar.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "libslice/text/detail/grammar_code.h"
#include "libslice/text/detail/grammar_threads.h"
#include "libslice/text/detail/json_lexemes.h"
#include "libslice/text/detail/json_schema.h"

namespace slice {

namespace detail {

/// A text so far, and the threads after each byte of a token that is tried.
class JsonState {
 public:
  explicit JsonState(const GrammarProgram& program) : program_(program), runner_(program) {
    runner_.begin(threads_);
  }

  bool may_end() const { return threads_.may_end; }

  bool push(std::string_view bytes) {
    if (bytes.empty()) return false;
    const size_t calls = runner_.calls();
    GrammarThreads now = threads_, next;
    for (const char c : bytes) {
      runner_.step(now, static_cast<uint8_t>(c), next);
      std::swap(now, next);
      if (now.list.empty() && !now.may_end) {
        runner_.shrink(calls);
        return false;
      }
    }
    threads_ = std::move(now);
    runner_.keep_only(threads_);
    return true;
  }

  /// Threads within a string, between two characters, take every plain token that is not too long;
  /// only tokens of another kind have to be followed for them.
  void allow(const TokenBytes& tokens, std::span<uint8_t> allowed) {
    GrammarThreads strings, rest;
    int64_t characters = 0;
    for (const GrammarThread& thread : threads_.list) {
      const Instruction& at = program_.code[static_cast<size_t>(thread.place)];
      const bool inside = at.op == Instruction::Op::kString &&
                          thread.inner == static_cast<uint8_t>(InString::kContent);
      (inside ? strings : rest).list.push_back(thread);
      if (inside) characters = std::max(characters, at.most - thread.count);
    }
    if (characters > 0) {
      for (const TokenBytes::Plain& token : tokens.plain()) {
        if (token.characters <= characters && std::cmp_less(token.id, allowed.size()))
          allowed[static_cast<size_t>(token.id)] = 1;
      }
    }
    follow(tokens.others(), strings, allowed);
    follow(tokens.sorted(), rest, allowed);
  }

 private:
  /// Tokens in their order, so that what two have in common is followed once.
  void follow(const std::vector<TokenBytes::Token>& tokens, const GrammarThreads& from,
              std::span<uint8_t> allowed) {
    if (from.list.empty()) return;
    const size_t calls = runner_.calls();
    if (levels_.empty()) levels_.emplace_back();
    levels_[0] = {from, calls};
    size_t reached = 0;  // bytes of the token before that fit
    bool first = true;
    for (const TokenBytes::Token& token : tokens) {
      if (!first && token.common > reached) continue;
      size_t depth = first ? 0 : token.common;
      first = false;
      runner_.shrink(levels_[depth].calls);
      while (depth < token.bytes.size()) {
        if (levels_.size() <= depth + 1) levels_.emplace_back();
        GrammarThreads& next = levels_[depth + 1].threads;
        runner_.step(levels_[depth].threads, static_cast<uint8_t>(token.bytes[depth]), next);
        levels_[depth + 1].calls = runner_.calls();
        if (next.list.empty() && !next.may_end) break;
        ++depth;
      }
      reached = depth;
      if (depth == token.bytes.size() && std::cmp_less(token.id, allowed.size()))
        allowed[static_cast<size_t>(token.id)] = 1;
    }
    runner_.shrink(calls);
  }

  struct Level {
    GrammarThreads threads;
    size_t calls = 0;
  };

  const GrammarProgram& program_;
  GrammarRunner runner_;
  GrammarThreads threads_;
  std::vector<Level> levels_;
};

}  // namespace detail

JsonGrammar::JsonGrammar(detail::GrammarProgram program)
    : program_(std::make_shared<const detail::GrammarProgram>(std::move(program))) {}

JsonGrammar JsonGrammar::any_object() {
  detail::GrammarCode code;
  code.spaces();
  code.free_object(code.any_rule());
  code.end_rule();
  return JsonGrammar(code.finish());
}

JsonGrammar JsonGrammar::of_schema(std::string_view schema) {
  return JsonGrammar(detail::compile_schema(schema));
}

JsonText::JsonText(JsonGrammar grammar, std::shared_ptr<const TokenBytes> tokens)
    : grammar_(std::move(grammar)),
      tokens_(std::move(tokens)),
      state_(std::make_unique<detail::JsonState>(*grammar_.program_)) {}

JsonText::~JsonText() = default;
JsonText::JsonText(JsonText&&) noexcept = default;

bool JsonText::push(int64_t id) { return state_->push(tokens_->bytes(id)); }

bool JsonText::may_end() const { return state_->may_end(); }

void JsonText::allow(std::span<uint8_t> allowed) { state_->allow(*tokens_, allowed); }

}  // namespace slice
