#include "libslice/text/detail/grammar_containers.h"

#include <cstddef>

namespace slice::detail {

void write_array(GrammarCode& code, int32_t rule, int64_t least, int64_t most) {
  if (least == 0 && most == INT64_MAX) return code.free_array(rule);
  code.mark('[');
  std::vector<int32_t> closing;
  const auto may_close = [&] {
    const int32_t fork = code.fork();
    code.at(fork).target = code.here();
    closing.push_back(fork);
  };
  for (int64_t item = 0; item < (most == INT64_MAX ? least : most); ++item) {
    if (item >= least) may_close();
    if (item > 0) code.mark(',');
    code.call(rule);
    code.spaces();
  }
  if (most == INT64_MAX) {
    const int32_t again = code.here();
    may_close();
    code.mark(',');
    code.call(rule);
    code.spaces();
    code.jump(again);
  }
  for (const int32_t fork : closing) code.at(fork).other = code.here();
  code.bytes("]");
}

namespace {

/// Where a member begins, and its jump to what comes after it.
struct Place {
  int32_t begin, end;
};

/// The ways from member to member: each may be followed by any later one up to the next that is
/// required, one that repeats also by itself. Written from the last on, so that each knows where it
/// leads to.
int32_t join(GrammarCode& code, const std::vector<ObjectMember>& members,
             const std::vector<Place>& places, int32_t close) {
  // Where to go when the members before i are settled: at the beginning, and after another.
  int32_t first = close, after = close;
  for (size_t i = members.size(); i-- > 0;) {
    const auto [begin, end] = places[i];
    if (!members[i].repeats) code.at(end).target = after;
    const int32_t next = members[i].required ? code.here() : code.fork(code.here() + 1, after);
    code.mark(',');
    code.jump(begin);
    if (members[i].repeats) code.at(end).target = next;
    after = next;
    first = members[i].required ? begin : code.fork(begin, first);
  }
  return first;
}

}  // namespace

void write_object(GrammarCode& code, const std::vector<ObjectMember>& members) {
  code.mark('{');
  const int32_t begin = code.jump();
  std::vector<Place> places;
  for (const ObjectMember& member : members) {
    const int32_t place = code.here();
    member.write_key();
    code.spaces();
    code.mark(':');
    member.write_value();
    code.spaces();
    places.push_back({place, code.jump()});
  }
  const int32_t close = code.here();
  code.bytes("}");
  const int32_t done = code.jump();
  code.at(begin).target = join(code, members, places, close);
  code.at(done).target = code.here();
}

}  // namespace slice::detail
