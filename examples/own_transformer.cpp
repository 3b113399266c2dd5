// own_transformer: slices a user-defined decoder. The model is plain torch::nn modules, except that
// it uses libslice's norms, residual additions and taps. It describes itself once (`adapter`), is
// sliced in place, and writes a text by slice::Engine.

#include <torch/nn.h>

#include <cmath>
#include <cstdio>

#include "cli.h"
#include "libslice/slice.h"

namespace {

using torch::Tensor;

constexpr int64_t kVocabulary = 1000, kPositions = 256, kWidth = 192, kHeads = 6, kFfn = 768,
                  kLayers = 4;

struct BlockImpl : torch::nn::Module {
  BlockImpl() {
    register_module("attention_norm", attention_norm);
    register_module("attention_shortcut", attention_shortcut);
    register_module("qkv", qkv);
    register_module("out", out);
    register_module("mlp_norm", mlp_norm);
    register_module("mlp_shortcut", mlp_shortcut);
    register_module("up", up);
    register_module("down", down);
  }

  Tensor attend(const Tensor& normed) {  // (B, T, k) → (B, T, D): what `out` reads
    const int64_t B = normed.size(0), T = normed.size(1);
    const auto parts =
        qkv(normed).view({B, T, 3, kHeads, kWidth / kHeads}).permute({2, 0, 3, 1, 4});
    return at::scaled_dot_product_attention(parts[0], parts[1], parts[2], {}, 0.0, /*causal=*/true)
        .transpose(1, 2)
        .reshape({B, T, kWidth});
  }
  Tensor activate(const Tensor& normed) { return torch::gelu(up(normed)); }

  Tensor forward(Tensor x) {
    x = attention_shortcut(x, out(attend(attention_norm(x))));
    x = mlp_shortcut(x, down(activate(mlp_norm(x))));
    return x;
  }

  slice::RmsNorm attention_norm{kWidth, 1e-5}, mlp_norm{kWidth, 1e-5};
  slice::Shortcut attention_shortcut, mlp_shortcut;
  slice::Tap attention_tap, mlp_tap;
  torch::nn::Linear qkv{kWidth, 3 * kWidth}, out{kWidth, kWidth}, up{kWidth, kFfn},
      down{kFfn, kWidth};
};
TORCH_MODULE(Block);

struct TransformerImpl : torch::nn::Module {
  TransformerImpl() {
    register_module("words", words);
    register_module("positions", positions);
    for (int64_t layer = 0; layer < kLayers; ++layer) blocks->push_back(Block());
    register_module("blocks", blocks);
    register_module("norm", norm);
    register_module("head", head);
  }

  Tensor embed(const Tensor& ids) {
    return words(ids) + positions(torch::arange(ids.size(1), ids.options()));
  }
  Tensor forward(const Tensor& ids) {
    Tensor x = embed(ids);
    for (const auto& block : *blocks) x = block->as<Block>()->forward(x);
    return head(norm(x));
  }

  /// The description for the slicing loop: what every sublayer reads, computes and writes.
  slice::ModelAdapter adapter(at::Device device) {
    slice::ModelAdapter model;
    model.hidden_size = kWidth;
    model.embeddings = {{"words", words->weight, {}}, {"positions", positions->weight, {}}};
    model.embed = [this, device](const Tensor& ids) { return embed(ids.to(device)); };
    for (int64_t layer = 0; layer < kLayers; ++layer) {
      auto* block = blocks[layer]->as<Block>();
      const std::string name = "blocks." + std::to_string(layer);
      model.sublayers.push_back(
          {.name = name + ".attention",
           .norm = block->attention_norm,
           .branches = {{.readers = {{name + ".qkv", block->qkv->weight, block->qkv->bias}},
                         .hidden = [block](const Tensor& n,
                                           slice::KvCache*) { return block->attend(n); },
                         .writer = {name + ".out", block->out->weight, block->out->bias}}},
           .shortcut = block->attention_shortcut,
           .tap = &block->attention_tap});
      model.sublayers.push_back(
          {.name = name + ".mlp",
           .norm = block->mlp_norm,
           .branches = {{.readers = {{name + ".up", block->up->weight, block->up->bias}},
                         .hidden = [block](const Tensor& n,
                                           slice::KvCache*) { return block->activate(n); },
                         .writer = {name + ".down", block->down->weight, block->down->bias}}},
           .shortcut = block->mlp_shortcut,
           .tap = &block->mlp_tap});
    }
    model.final_norm = norm;
    model.head = {"head", head->weight, head->bias};
    return model;
  }

  torch::nn::Embedding words{kVocabulary, kWidth}, positions{kPositions, kWidth};
  torch::nn::ModuleList blocks;
  slice::RmsNorm norm{kWidth, 1e-5};
  torch::nn::Linear head{kWidth, kVocabulary};
};
TORCH_MODULE(Transformer);

/// The same random weights every time. The embeddings use two thirds of the hidden size, the rest
/// is weak, so that there is something to delete.
Transformer make(at::Device device) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(1);
  Transformer model;
  model->words->weight.slice(1, 2 * kWidth / 3).mul_(0.05);
  model->positions->weight.slice(1, 2 * kWidth / 3).mul_(0.05);
  model->to(device, torch::kDouble);
  return model;
}

double largest_difference(const Tensor& a, const Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

int64_t parameters_of(const Transformer& model) {
  int64_t count = 0;
  for (const Tensor& parameter : model->parameters()) count += parameter.numel();
  return count;
}

/// The likeliest tokens after a prompt, by an engine; checked against the model itself.
void write_text(Transformer model, at::Device device) {
  const int64_t kTokens = 12;
  std::vector<int64_t> ids = {1, 2, 3, 5, 8, 13};
  slice::Engine engine({.models = {{.name = "own",
                                    .decoder = std::make_shared<slice::UserDecoder>(
                                        model->adapter(device), kPositions, model.ptr())}}});
  slice::Request request;
  request.prompt = ids;
  request.options.max_tokens = kTokens;
  const std::vector<int64_t> text = engine.submit(request).wait().texts.at(0).ids;
  std::printf("its text:");
  for (int64_t i = 0; i < kTokens; ++i) {
    const Tensor logits = model->forward(torch::tensor(ids).unsqueeze(0).to(device))[0][-1];  // (V)
    ids.push_back(logits.argmax().item<int64_t>());
    std::printf(" %ld", ids.back());
    if (text.at(static_cast<size_t>(i)) != ids.back())
      throw slice::NumericError("the engine must write what the model says");
  }
  std::printf("\n");
}

void show(at::Device device, double fraction) {
  const torch::NoGradGuard no_grad;
  const Tensor calibration = torch::randint(kVocabulary, {32, 128}, torch::kLong);
  const Tensor test = torch::randint(kVocabulary, {4, 128}, torch::kLong).to(device);
  std::printf("device %s, %ld layers of width %ld, float64\n", device.str().c_str(), kLayers,
              kWidth);
  const Tensor dense = make(device)->forward(test);
  for (const double slice : {0.0, fraction}) {
    Transformer model = make(device);
    const int64_t before = parameters_of(model);
    slice::ModelAdapter adapter = model->adapter(device);
    // The paper's method rotates even where it deletes nothing.
    const auto method = slice == 0.0 ? slice::Method::kSliceGpt : slice::Method::kRefit;
    const slice::SliceReport report =
        slice::slice_model(adapter, calibration, {.method = method, .slice = slice});
    std::printf("k = %3ld: %s -> %s parameters, logits differ by %.2e of the largest\n",
                report.stream_sizes.front(), cli::grouped(before).c_str(),
                cli::grouped(parameters_of(model)).c_str(),
                largest_difference(model->forward(test), dense));
    if (slice == 0.0 && !(largest_difference(model->forward(test), dense) < 1e-9))
      throw slice::NumericError("k = D must be the identity");
    write_text(model, device);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::optional<at::Device> device;
  double fraction = 0.25;
  CLI::App app("Slices a transformer made of plain torch::nn modules, in place.",
               "own_transformer");
  cli::add_device_option(app, device);
  app.add_option("--slice", fraction, "fraction of the hidden size to delete")
      ->capture_default_str();
  return cli::run(app, argc, argv, [&] { show(slice::choose_device(device), fraction); });
}
