#include <nlohmann/json.hpp>

#include "libslice/base/detail/json_text.h"
#include "libslice/slicing/report.h"

namespace slice {

using nlohmann::ordered_json;

namespace {

ordered_json number_or_null(const std::optional<double>& number) {
  return number ? ordered_json(*number) : ordered_json();
}

ordered_json both(const ordered_json& before, const ordered_json& after) {
  return {{"before", before}, {"after", after}};
}

/// What was asked for, as slice_model's options are called.
ordered_json asked_json(const SliceOptions& o) {
  ordered_json asked = ordered_json::object();
  if (o.remove) asked["remove"] = *o.remove;
  if (o.remove_blocks) asked["remove_blocks"] = *o.remove_blocks;
  if (o.fit_bytes) {
    asked["fit"] = *o.fit_bytes;
    asked["fit_context"] = o.fit_context;
    asked["fit_batch"] = o.fit_batch;
  }
  if (o.budgeted()) {
    asked["layout"] = o.layout == Layout::kFree ? "free" : "stock";
  } else {
    if (o.kept > 0) asked["kept"] = o.kept;
    if (o.kept == 0) asked["slice"] = o.slice;
    if (!o.ffn_sizes.empty()) asked["ffn"] = o.ffn_sizes;
  }
  asked["head"] = o.head == HeadMode::kSlice ? "slice" : "keep";
  if (o.keep_tie) asked["keep_tie"] = true;
  if (o.round) asked["round"] = *o.round;
  if (o.gradient_samples) asked["samples_gradient"] = *o.gradient_samples;
  return asked;
}

ordered_json sites_json(const SliceReport& r) {
  ordered_json sites = ordered_json::array();
  for (const SiteReport& site : r.sites) {
    ordered_json json = {{"index", site.index},
                         {"name", site.name},
                         {"hidden_size", site.hidden_size},
                         {"kept_variance", site.kept_variance},
                         {"seconds", site.seconds},
                         {"recovered", number_or_null(site.recovered)}};
    if (!site.spectrum.empty()) {
      json["directions"] = site.directions;
      json["spectrum"] = site.spectrum;
    }
    sites.push_back(std::move(json));
  }
  return sites;
}

/// Parameters by what they are of.
ordered_json parts_json(const ParameterCount& count) {
  return {
      {"embeddings", count.embeddings}, {"attention", count.attention}, {"ffn", count.ffn()},
      {"shortcuts", count.shortcuts},   {"head", count.head},           {"others", count.others()}};
}

ordered_json peaks_json(const SliceReport& r) {
  ordered_json peaks = {{"host", r.peak_host_bytes}, {"device", r.peak_device_bytes}};
  for (const PeakReport& peak : r.peaks)
    peaks["phases"].push_back(
        {{"phase", peak.phase}, {"host", peak.host_bytes}, {"device", peak.device_bytes}});
  return peaks;
}

ordered_json samples_json(const SliceReport& r) {
  ordered_json samples = ordered_json::array();
  for (const SampleReport& sample : r.samples)
    samples.push_back(
        {{"prompt", sample.prompt}, {"before", sample.before}, {"after", sample.after}});
  return samples;
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
  return {{"weight_bytes", r.weight_bytes},
          {"stored_bytes", both(r.before.total * r.weight_bytes, r.after.total * r.weight_bytes)},
          {"token_bytes", both(r.before.read * r.weight_bytes, r.after.read * r.weight_bytes)},
          {"token_flop", both(2 * r.before.multiplied, 2 * r.after.multiplied)}};
}

}  // namespace

std::string report_json(const SliceReport& r) {
  ordered_json json = {
      {"model",
       {{"name", r.model},
        {"family", r.family},
        {"hidden_size", r.hidden_size},
        {"layers", r.layers},
        {"ffn", r.dense_ffn_sizes}}},
      {"asked", asked_json(r.asked)},
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
      {"sites", sites_json(r)},
      {"parameters",
       {{"before", r.before.total},
        {"after", r.after.total},
        {"removed", r.before.total - r.after.total},
        {"blocks_before", r.before.blocks},
        {"blocks_after", r.after.blocks},
        {"blocks_removed", r.before.blocks - r.after.blocks},
        {"parts", both(parts_json(r.before), parts_json(r.after))}}},
  };
  if (!r.model_sha256.empty()) json["model"]["sha256"] = r.model_sha256;
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
    json["perplexity"] = both(*r.perplexity_before, *r.perplexity_after);
  }
  if (r.speed_before && r.speed_after) {
    json["tokens_per_second"] = {{"prefill", both(r.speed_before->prefill, r.speed_after->prefill)},
                                 {"decode", both(r.speed_before->decode, r.speed_after->decode)}};
  }
  if (!r.samples.empty()) json["samples"] = samples_json(r);
  if (r.resume) {
    json["resume"] = {{"layers_found", r.resume->layers_found},
                      {"layers", r.resume->layers},
                      {"signal_layer", r.resume->signal_layer},
                      {"save_every", r.resume->save_every},
                      {"saves", r.resume->saves},
                      {"seconds", r.resume->seconds},
                      {"disk_bytes", r.resume->disk_bytes}};
  }
  if (r.verified)
    json["verified"] = {{"windows", r.verified->windows},
                        {"loss", both(r.verified->loss_before, r.verified->loss_after)}};
  if (!r.files.empty()) json["files"] = r.files;
  json["seconds"] = {{"load", r.load_seconds},          {"search", r.search_seconds},
                     {"gradients", r.gradient_seconds}, {"calibrate", r.calibrate_seconds},
                     {"eigen", r.eigen_seconds},        {"rewrite", r.rewrite_seconds},
                     {"refit", r.refit_seconds},        {"recover", r.recover_seconds},
                     {"save", r.save_seconds},          {"total", r.total_seconds}};
  json["peak_bytes"] = peaks_json(r);
  const Versions used = versions();
  json["versions"] = {
      {"libslice", used.libslice}, {"libtorch", used.libtorch}, {"cuda", used.cuda}};
  return detail::json_text(json);
}

}  // namespace slice
