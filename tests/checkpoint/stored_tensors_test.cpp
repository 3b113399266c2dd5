#include "libslice/checkpoint/stored_tensors.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>

#include "libslice/base/error.h"
#include "tests/support/matchers.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using models::StoredForm;
using namespace tests;

/// Forms of a layer's parameters, and what a file holds of q of two heads of four coordinates, …
struct Case {
  std::string name;
  std::map<std::string, StoredForm> forms;
};

/// q and k, v of rows (8, 4, 4), each as the description says.
StoredForm rows(const std::string& tensor, int64_t groups, int64_t all, int64_t begin,
                int64_t end) {
  return {.tensor = tensor, .groups = groups, .group_rows = all, .begin = begin, .end = end};
}

StoredForm transposed(StoredForm form) {
  form.transposed = true;
  return form;
}

StoredForm neighbours(StoredForm form, int64_t heads, int64_t turning) {
  form.heads = heads;
  form.turning = turning;
  return form;
}

std::vector<Case> cases() {
  return {
      {"as it is", {{"q", {.tensor = "q"}}, {"k", {.tensor = "k"}}, {"v", {.tensor = "v"}}}},
      {"row ranges",
       {{"q", rows("qkv", 1, 16, 0, 8)},
        {"k", rows("qkv", 1, 16, 8, 12)},
        {"v", rows("qkv", 1, 16, 12, 16)}}},
      {"by key/value head",
       {{"q", rows("qkv", 2, 8, 0, 4)},
        {"k", rows("qkv", 2, 8, 4, 6)},
        {"v", rows("qkv", 2, 8, 6, 8)}}},
      {"transposed",
       {{"q", transposed(rows("qkv", 1, 16, 0, 8))},
        {"k", transposed(rows("qkv", 1, 16, 8, 12))},
        {"v", transposed(rows("qkv", 1, 16, 12, 16))}}},
      {"neighbours turn",
       {{"q", neighbours({.tensor = "q"}, 2, 4)},
        {"k", neighbours({.tensor = "k"}, 1, 2)},
        {"v", {.tensor = "v"}}}},
      {"all at once",
       {{"q", transposed(neighbours(rows("qkv", 2, 8, 0, 4), 2, 2))},
        {"k", transposed(neighbours(rows("qkv", 2, 8, 4, 6), 1, 4))},
        {"v", transposed(rows("qkv", 2, 8, 6, 8))}}},
      {"without its 1",
       {{"q", {.tensor = "q", .offset = 1}}, {"k", {.tensor = "k"}}, {"v", {.tensor = "v"}}}},
  };
}

TEST_CASE("parameters come back from every form of a file bit for bit, whatever their order") {
  for (const Case& c : cases()) {
    for (const std::vector<std::string>& order :
         {std::vector<std::string>{"q", "k", "v"}, std::vector<std::string>{"v", "q", "k"}}) {
      for (const bool bias : {false, true}) {
        INFO(c.name << " first " << order[0] << (bias ? " bias" : ""));
        std::map<std::string, Tensor> parameters;
        std::vector<WrittenForm::Entry> entries;
        for (const std::string& name : order) {
          const int64_t n = name == "q" ? 8 : 4;
          // Eighths: 1 is taken off and put back without rounding.
          parameters[name] =
              (8 * gaussian(bias ? at::IntArrayRef{n} : at::IntArrayRef{n, 3}, n + order[0][0]))
                  .round()
                  .div(8)
                  .to(at::kFloat);
          entries.push_back({name, parameters[name].sizes().vec()});
        }
        StoredTensors tensors(entries, [&](const std::string& name) { return c.forms.at(name); });
        std::map<std::string, Tensor> file;
        for (const std::string& name : order) {
          const auto tensor = tensors.add(name, parameters[name]);
          CHECK(tensor.has_value() == tensors.completes(name));
          if (!tensor) continue;
          CHECK(tensor->second.sizes() == at::IntArrayRef(tensors.slots().at(file.size()).shape));
          CHECK(tensor->first == tensors.slots().at(file.size()).name);
          file[tensor->first] = tensor->second;
        }
        CHECK(file.size() == tensors.slots().size());
        for (const auto& [name, form] : c.forms) {
          const Tensor& stored = file.at(form.tensor);
          CHECK(at::IntArrayRef(parameter_shape(form, stored.sizes().vec(), "x")) ==
                parameters[name].sizes());
          CHECK(bit_difference(parameter_of(form, stored).to(at::kFloat), parameters[name]) == "");
        }
      }
    }
  }
}

TEST_CASE("a fused tensor has its parts where the form says") {
  const Tensor q = at::arange(8.0), k = 10 + at::arange(4.0), v = 20 + at::arange(4.0);
  const auto stored = [&](const Case& c) {
    StoredTensors tensors({{"q", {8}}, {"k", {4}}, {"v", {4}}},
                          [&](const std::string& name) { return c.forms.at(name); });
    CHECK_FALSE(tensors.add("q", q));
    CHECK_FALSE(tensors.add("k", k));
    return tensors.add("v", v)->second;
  };
  CHECK(at::equal(stored(cases()[1]), at::cat({q, k, v})));
  CHECK(at::equal(stored(cases()[2]), at::tensor({0., 1., 2., 3., 10., 11., 20., 21., 4., 5., 6.,
                                                  7., 12., 13., 22., 23.})));
  // The first two of four coordinates turn: (0, 1) are neighbours already, of four (0, 2), (1, 3).
  CHECK(at::equal(parameter_of(neighbours({.tensor = "q"}, 2, 4), q),
                  at::tensor({0., 2., 1., 3., 4., 6., 5., 7.})));
  CHECK(at::equal(parameter_of({.tensor = "q", .offset = 1}, q), (q + 1).to(at::kDouble)));
}

TEST_CASE("tensors that do not hold what the form says are refused by name") {
  using Shape = std::vector<int64_t>;
  using Entries = std::vector<WrittenForm::Entry>;
  const StoredForm fused = rows("qkv", 2, 8, 0, 4), heads = neighbours({.tensor = "k"}, 3, 4);
  const Shape short_of_one = {15, 3}, two_heads = {8, 3};
  CHECK_THROWS_NAMING(parameter_shape(fused, short_of_one, "file"), FormatError,
                      "file: qkv: want 16 rows");
  CHECK_THROWS_NAMING(parameter_shape(heads, two_heads, "file"), FormatError,
                      "file: k: want rows of 3 heads");
  const auto half = [](const std::string&) { return rows("qkv", 1, 16, 0, 8); };
  const Entries alone = {{"q", {8, 3}}}, narrow = {{"q", {7, 3}}};
  CHECK_THROWS_NAMING(StoredTensors(alone, half), ArgumentError, "qkv: parts are missing");
  CHECK_THROWS_NAMING(StoredTensors(narrow, half), ArgumentError, "q: want 8 rows");
}

}  // namespace
}  // namespace slice
