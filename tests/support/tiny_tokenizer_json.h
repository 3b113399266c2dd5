#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "libslice/text/bpe.h"
#include "libslice/text/tokenizer.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_vocabulary.h"
#include "tests/support/tokenizer_files.h"

namespace slice::tests {

/// The tokenizer.json of tiny_definition().
inline nlohmann::json tiny_json() {
  return nlohmann::json::parse(file_of(*make_bpe_tokenizer(tiny_definition()), "tokenizer.json"));
}

/// The tokenizer of a directory with this tokenizer.json and, unless null, tokenizer_config.json.
inline std::shared_ptr<const Tokenizer> load_json(const nlohmann::json& tokenizer,
                                                  const nlohmann::json& config = {}) {
  const TemporaryDirectory directory;
  directory.write("tokenizer.json", tokenizer.dump());
  if (!config.is_null()) directory.write("tokenizer_config.json", config.dump());
  return load_tokenizer(directory.path());
}

}  // namespace slice::tests
