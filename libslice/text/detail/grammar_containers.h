#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "libslice/text/detail/grammar_code.h"

namespace slice::detail {

/// An array of `least` to `most` items, without an upper limit where `most` is INT64_MAX.
/// @param rule  of an item
void write_array(GrammarCode& code, int32_t rule, int64_t least, int64_t most);

/// A member of an object, or every further one.
struct ObjectMember {
  bool required = false;
  bool repeats = false;  ///< may come any number of times; of the last one alone
  std::function<void()> write_key, write_value;
};

/// An object of these members in this order.
void write_object(GrammarCode& code, const std::vector<ObjectMember>& members);

}  // namespace slice::detail
