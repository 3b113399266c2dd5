#pragma once

#include <cstdint>
#include <map>
#include <vector>

namespace slice::detail {

/// Calls that are open at once: JSON is nested 64 deep at most.
inline constexpr int32_t kMostGrammarDepth = 63;
/// White space in one place: one space, or a new line with so many spaces and tabs after it. More
/// would be JSON too, but a model that once begins may never end.
inline constexpr int64_t kMostIndent = 24;

/// A recursive transition network over bytes.
struct Instruction {
  enum class Op : uint8_t {
    kByte,    ///< one byte
    kSpaces,  ///< white space, or none
    kString,  ///< a string, quotes included, of least … most characters
    kNumber,  ///< a number
    kCall,    ///< the instructions from `target` on, up to their return
    kReturn,  ///< of the outermost: the text may end
    kJump,    ///< to `target`
    kFork,    ///< to `target` and to `other`
  };
  Op op;
  uint8_t byte = 0;
  bool integer = false;                 ///< kNumber
  int32_t target = -1, other = -1;      ///< places of the code
  int64_t least = 0, most = INT64_MAX;  ///< kString
  int32_t except = -1;                  ///< kString: root among `keys` of the strings it is not
};

/// A node of a tree of strings, as JSON writes them between their quotes.
struct KeyNode {
  std::map<uint8_t, int32_t> next = {};
  bool ends = false;
};

/// Begins at 0.
struct GrammarProgram {
  std::vector<Instruction> code;
  std::vector<int32_t>
      height;  ///< of each place: calls that it needs at once at least, to its return
  std::vector<KeyNode> keys;
};

}  // namespace slice::detail
