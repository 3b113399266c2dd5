#include "libslice/slicing/report.h"

#include <sys/resource.h>
#include <torch/version.h>

#include <nlohmann/json.hpp>

#include "libslice/base/output_file.h"

namespace slice {

using nlohmann::ordered_json;

std::string version() { return LIBSLICE_VERSION; }

int64_t peak_host_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<int64_t>(usage.ru_maxrss) * 1024;  // Linux counts in KiB
}

namespace {

ordered_json number_or_null(const std::optional<double>& number) {
  return number ? ordered_json(*number) : ordered_json();
}

/// What a search tried and did not take.
ordered_json rejected_json(const SliceReport& r) {
  ordered_json rejected = ordered_json::array();
  for (size_t i = 1; i < r.candidates.size(); ++i) {
    const Candidate& c = r.candidates[i];
    rejected.push_back({{"k", c.kept},
                        {"tied", c.tied},
                        {"stock", c.stock},
                        {"ffn_channels", c.channels()},
                        {"parameters", c.after.total},
                        {"blocks", c.after.blocks},
                        {"loss", number_or_null(c.loss)}});
  }
  return rejected;
}

/// What every calibration text lost.
ordered_json texts_json(const SliceReport& r) {
  ordered_json texts = ordered_json::array();
  for (const TextReport& text : r.texts) {
    texts.push_back({{"text", text.name},
                     {"weight", text.weight > 0 ? ordered_json(text.weight) : ordered_json()},
                     {"windows", text.windows},
                     {"held_out", text.held_out},
                     {"held_out_before", number_or_null(text.held_out_before)},
                     {"held_out_after", number_or_null(text.held_out_after)}});
  }
  return texts;
}

/// The least held-out loss of the stock plans that a search tried, and of all.
ordered_json losses_json(const SliceReport& r) {
  return {{"stock", number_or_null(least_loss(r.candidates, /*only_stock=*/true))},
          {"free", number_or_null(least_loss(r.candidates, /*only_stock=*/false))}};
}

/// What the model takes of a machine before and after.
ordered_json inference_json(const SliceReport& r) {
  const auto both = [](auto before, auto after) {
    return ordered_json{{"before", before}, {"after", after}};
  };
  return {{"weight_bytes", r.weight_bytes},
          {"stored_bytes", both(r.before.total * r.weight_bytes, r.after.total * r.weight_bytes)},
          {"token_bytes", both(r.before.read * r.weight_bytes, r.after.read * r.weight_bytes)},
          {"token_flop", both(2 * r.before.multiplied, 2 * r.after.multiplied)}};
}

}  // namespace

std::string report_json(const SliceReport& r) {
  ordered_json sites = ordered_json::array();
  for (const SiteReport& site : r.sites) {
    sites.push_back({{"index", site.index},
                     {"name", site.name},
                     {"hidden_size", site.hidden_size},
                     {"kept_variance", site.kept_variance},
                     {"seconds", site.seconds},
                     {"recovered", number_or_null(site.recovered)}});
  }
  ordered_json json = {
      {"model", {{"family", r.family}, {"hidden_size", r.hidden_size}, {"layers", r.layers}}},
      {"plan",
       {{"k", r.stream_sizes},
        {"ffn", r.ffn_sizes},
        {"heads", r.head_counts},
        {"tied", r.tied},
        {"rejected", rejected_json(r)}}},
      {"seed", r.method == "refit" ? ordered_json(r.seed) : ordered_json()},  // slicegpt has none
      {"dtype", r.dtype},
      {"device", r.device},
      {"signal", r.signal},
      {"tf32", r.tf32},
      {"recover_epochs", r.recover_epochs},
      {"method", r.method},
      {"shortcut", r.shortcut},
      {"calibration",
       {{"tokens", r.calibration_tokens},
        {"sequences", r.calibration_sequences},
        {"context", r.calibration_context},
        {"chunk_tokens", r.chunk_tokens},
        {"sha256", r.calibration_sha256}}},
      {"texts", texts_json(r)},
      {"sites", sites},
      {"parameters",
       {{"before", r.before.total},
        {"after", r.after.total},
        {"removed", r.before.total - r.after.total},
        {"blocks_before", r.before.blocks},
        {"blocks_after", r.after.blocks},
        {"blocks_removed", r.before.blocks - r.after.blocks}}},
  };
  if (r.weight_bytes > 0) json["inference"] = inference_json(r);
  if (!r.form.model_type.empty()) {
    json["form"] = {{"stock", r.form.stock},
                    {"vllm", r.form.vllm},
                    {"model_type", r.form.model_type},
                    {"gguf", r.form.gguf.empty() ? ordered_json() : ordered_json(r.form.gguf)}};
  }
  if (!r.candidates.empty() && r.candidates[0].loss) {
    json["plan"]["loss"] = *r.candidates[0].loss;
    json["plan"]["losses"] = losses_json(r);
  }
  if (r.perplexity_before && r.perplexity_after) {
    json["perplexity"] = {{"before", *r.perplexity_before}, {"after", *r.perplexity_after}};
  }
  if (r.resume) {
    json["resume"] = {{"layers_found", r.resume->layers_found},
                      {"layers", r.resume->layers},
                      {"signal_layer", r.resume->signal_layer},
                      {"save_every", r.resume->save_every},
                      {"saves", r.resume->saves},
                      {"seconds", r.resume->seconds},
                      {"disk_bytes", r.resume->disk_bytes}};
  }
  json["seconds"] = {{"load", r.load_seconds},          {"search", r.search_seconds},
                     {"gradients", r.gradient_seconds}, {"calibrate", r.calibrate_seconds},
                     {"eigen", r.eigen_seconds},        {"rewrite", r.rewrite_seconds},
                     {"refit", r.refit_seconds},        {"recover", r.recover_seconds},
                     {"save", r.save_seconds},          {"total", r.total_seconds}};
  json["peak_bytes"] = {{"host", r.peak_host_bytes}, {"device", r.peak_device_bytes}};
  json["versions"] = {
      {"libslice", version()}, {"libtorch", TORCH_VERSION}, {"cuda", LIBSLICE_CUDA_VERSION}};
  return json.dump(2);
}

void save_report(const SliceReport& report, const std::filesystem::path& path) {
  write_output(path, report_json(report) + "\n");
}

}  // namespace slice
