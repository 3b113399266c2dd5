#include "libslice/models/family.h"

#include <nlohmann/json.hpp>

#include "libslice/detail/check.h"

namespace slice::models {

const std::vector<const Family*>& families() {
  static const std::vector<const Family*> all = {&llama(), &mistral(), &opt(), &phi(), &qwen2()};
  return all;
}

const Family& family(const std::string& name) {
  for (const Family* candidate : families()) {
    if (candidate->name == name) return *candidate;
  }
  throw FormatError(fmt::format("no family is called '{}'", name));
}

}  // namespace slice::models
