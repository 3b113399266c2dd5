#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "libslice/text/detail/grammar_program.h"

namespace slice::detail {

/// One way in which a text so far fits a grammar, before its next byte.
struct GrammarThread {
  int32_t place;      ///< of the instruction that takes the byte
  int32_t frame;      ///< of the innermost open call, -1 for none
  uint8_t inner = 0;  ///< InString or InNumber
  int32_t key = -1;   ///< node of the tree of strings that a string may not be
  int64_t count = 0;  ///< characters, digits or white space so far
};

struct GrammarThreads {
  std::vector<GrammarThread> list;
  bool may_end = false;
};

/// Runs a grammar on bytes. Open calls are in a shared tree, so that a thread is a few numbers.
/// The calls of the threads that begin() and step() give stay valid until a shrink() to fewer, or
/// keep_only().
class GrammarRunner {
 public:
  explicit GrammarRunner(const GrammarProgram& program) : program_(program) {}

  void begin(GrammarThreads& threads);
  /// Those of `from` after one more byte; none where it does not fit.
  /// @throws FormatError  more than 1024 of them
  void step(const GrammarThreads& from, uint8_t byte, GrammarThreads& to);
  /// Number of open calls that were ever noted.
  size_t calls() const { return frames_.size(); }
  void shrink(size_t calls) { frames_.resize(calls); }
  /// Forgets the calls of all other threads.
  void keep_only(GrammarThreads& threads);

 private:
  struct Frame {
    int32_t place;  // to return to
    int32_t parent;
    int32_t depth;
  };

  int32_t depth(int32_t frame) const {
    return frame < 0 ? 0 : frames_[static_cast<size_t>(frame)].depth;
  }
  bool has_room(int32_t place, int32_t frame) const;
  void enter(int32_t place, int32_t frame, GrammarThreads& to);
  void add(const GrammarThread& thread, GrammarThreads& to) const;
  bool same_calls(int32_t a, int32_t b) const;
  void step_spaces(GrammarThread thread, uint8_t byte, GrammarThreads& to);
  void step_string(GrammarThread thread, uint8_t byte, GrammarThreads& to);
  void step_number(GrammarThread thread, uint8_t byte, GrammarThreads& to);

  const GrammarProgram& program_;
  std::vector<Frame> frames_;
};

}  // namespace slice::detail
