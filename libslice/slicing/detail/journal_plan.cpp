#include <ATen/ATen.h>

#include <cmath>
#include <limits>
#include <vector>

#include "libslice/base/detail/check.h"
#include "libslice/slicing/detail/journal_file.h"
#include "libslice/slicing/detail/journal_names.h"
#include "libslice/slicing/detail/resume_journal.h"

namespace slice::detail {

namespace fs = std::filesystem;
using at::Tensor;

namespace {

constexpr int64_t kSizes = 9;  // of a candidate beside its FFN widths

std::vector<int64_t> row_of(const Candidate& c) {
  std::vector<int64_t> row = {c.kept,
                              c.even,
                              c.stock,
                              c.tied,
                              c.after.total,
                              c.after.blocks,
                              c.after.shortcuts,
                              c.after.read,
                              c.after.multiplied};
  row.insert(row.end(), c.ffn_sizes.begin(), c.ffn_sizes.end());
  return row;
}

Candidate candidate_of(const int64_t* row, int64_t columns, double loss) {
  Candidate c;
  c.kept = row[0];
  c.even = row[1] != 0;
  c.stock = row[2] != 0;
  c.tied = row[3] != 0;
  c.after = {
      .total = row[4], .blocks = row[5], .shortcuts = row[6], .read = row[7], .multiplied = row[8]};
  c.ffn_sizes.assign(row + kSizes, row + columns);
  if (!std::isnan(loss)) c.loss = loss;
  return c;
}

}  // namespace

std::vector<Candidate> ResumeJournal::candidates() const {
  const fs::path path = directory_ / kPlan;
  std::error_code ignored;
  std::vector<Candidate> tried;
  if (!fs::exists(path, ignored)) return tried;
  const SafetensorsFile held = open_sealed(path);
  const Tensor rows = held.read("candidates").to(at::kLong),  // (n, kSizes + layers)
      losses = held.read("losses").to(at::kDouble);           // (n)
  SLICE_FORMAT_CHECK(rows.dim() == 2 && rows.size(0) > 0 && rows.size(1) > kSizes &&
                         losses.numel() == rows.size(0),
                     "{}: holds no candidates", path.string());
  const int64_t columns = rows.size(1);
  for (int64_t i = 0; i < rows.size(0); ++i) {
    tried.push_back(candidate_of(rows.const_data_ptr<int64_t>() + i * columns, columns,
                                 losses.const_data_ptr<double>()[i]));
  }
  return tried;
}

std::string ResumeJournal::keep_candidates(const std::vector<Candidate>& tried) {
  const Charge charge(report_.seconds);
  std::vector<Tensor> rows;
  std::vector<double> losses;
  for (const Candidate& c : tried) {
    rows.push_back(at::tensor(row_of(c), at::kLong));
    losses.push_back(c.loss.value_or(std::numeric_limits<double>::quiet_NaN()));
  }
  write_identity();
  return try_to_write(directory_ / kPlan, {{"candidates", at::stack(rows)},
                                           {"losses", at::tensor(losses, at::kDouble)}});
}

}  // namespace slice::detail
