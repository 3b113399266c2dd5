#include "libslice/text/sources/merge_line.h"

#include "libslice/base/detail/check.h"

namespace slice::detail {

MergeTable::Merge make_merge(const std::string& left, const std::string& right,
                             const TextMap<int32_t>& ids, int32_t priority,
                             const std::string& where) {
  const auto id_of = [&](const std::string& token) {
    const auto found = ids.find(token);
    SLICE_FORMAT_CHECK(found != ids.end(), "{}: '{}' is not a token", where, token);
    return found->second;
  };
  return {id_of(left), id_of(right), id_of(left + right), priority};
}

std::optional<MergeTable::Merge> find_merge_line(const std::string& line,
                                                 const TextMap<int32_t>& ids, int32_t priority,
                                                 const std::string& where) {
  constexpr int kMostSplits = 256;  // each costs as much as the line is long
  size_t at = line.find(' ');
  SLICE_FORMAT_CHECK(at != std::string::npos, "{}: '{}': want two tokens with a space between",
                     where, line);
  for (int i = 0; i < kMostSplits && at != std::string::npos; ++i, at = line.find(' ', at + 1)) {
    const std::string left = line.substr(0, at), right = line.substr(at + 1);
    if (!ids.contains(left) || !ids.contains(right) || !ids.contains(left + right)) continue;
    return make_merge(left, right, ids, priority, where);
  }
  return std::nullopt;
}

MergeTable::Merge read_merge_line(const std::string& line, const TextMap<int32_t>& ids,
                                  int32_t priority, const std::string& where) {
  if (const auto merge = find_merge_line(line, ids, priority, where)) return *merge;
  const size_t space = line.find(' ');
  return make_merge(line.substr(0, space), line.substr(space + 1), ids, priority, where);
}

}  // namespace slice::detail
