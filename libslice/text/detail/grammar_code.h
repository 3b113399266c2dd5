#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "libslice/text/detail/grammar_program.h"

namespace slice::detail {

/// Writes the instructions of a grammar, with those of JSON that every schema needs.
class GrammarCode {
 public:
  /// The place of the next instruction.
  int32_t here() const { return static_cast<int32_t>(program_.code.size()); }
  /// @return  its place    @throws FormatError  too many
  int32_t emit(Instruction instruction);
  void bytes(std::string_view text);
  void spaces() { emit({.op = Instruction::Op::kSpaces}); }
  /// A byte, and white space after it.
  void mark(char byte);
  /// One of some texts, none of which may be empty; JSON's own are quoted.
  void one_of(const std::vector<std::string>& texts);
  int32_t jump(int32_t target = -1) {
    return emit({.op = Instruction::Op::kJump, .target = target});
  }
  int32_t fork(int32_t target = -1, int32_t other = -1) {
    return emit({.op = Instruction::Op::kFork, .target = target, .other = other});
  }
  Instruction& at(int32_t place) { return program_.code[static_cast<size_t>(place)]; }

  /// A tree of strings for Instruction::except; `quoted` as JSON writes them.
  int32_t key_tree(const std::vector<std::string>& quoted);
  /// An object with string keys and values that `call` is the rule of; any value by any_rule().
  void free_object(int32_t rule);
  void free_array(int32_t rule);

  /// A rule's number, for calls before it is written.
  int32_t new_rule();
  void call(int32_t rule) { emit({.op = Instruction::Op::kCall, .target = rule}); }
  /// The rule begins here.
  void begin_rule(int32_t rule) { rules_[static_cast<size_t>(rule)] = here(); }
  void end_rule() { emit({.op = Instruction::Op::kReturn}); }
  /// Of any JSON value; written where it is first asked for to be, at finish().
  int32_t any_rule();

  /// @throws FormatError  no finite text, a rule that begins with itself, too many alternatives
  GrammarProgram finish();

 private:
  template <typename Item>
  void list_of(char open, const Item& item, char close);
  void write_any();

  GrammarProgram program_;
  std::vector<int32_t> rules_;  // places
  int32_t any_ = -1;
};

}  // namespace slice::detail
