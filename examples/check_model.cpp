#include "check_model.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli.h"
#include "libslice/slice.h"

namespace cli {

void check_model(const std::string& directory, const std::string& model, bool json) {
  slice::DirectoryCheck check = slice::check_directory(directory);
  if (!model.empty() && slice::sliced_from(directory) != slice::model_fingerprint(model))
    check.problems.push_back(directory + ": was sliced from another model than " + model);
  if (json) {
    const nlohmann::ordered_json result = {{"files", check.files},
                                           {"bytes", check.bytes},
                                           {"problems", check.problems},
                                           {"others", check.others}};
    std::printf(
        "%s\n",
        result.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
  } else {
    for (const std::string& name : check.others) std::printf("not known   %s\n", name.c_str());
    std::printf("unchanged   %ld files, %s bytes\n", check.files, grouped(check.bytes).c_str());
  }
  if (check.problems.empty()) return;
  for (size_t i = 1; i < check.problems.size(); ++i) warn(check.problems[i]);
  throw slice::Error(check.problems.front());
}

}  // namespace cli
