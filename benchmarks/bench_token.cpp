// How the time of one token divides: our kernels in the order of a decoder's step, float16, batch
// 1, a cache of 144 positions, each part by itself and left out of the whole.
//
//   bench_token [rows.csv [model[:form] …]]      SLICE_COMMIT names the commit in the rows
//
// "kernels" is a graph of them all. "alone" is a CUDA graph of one of them on every layer's
// weights, "share" what the graph of all loses when it is left out. Every kernel reads fixed
// signals, so nothing overflows; the time does not depend on them. The choice of the token and its
// embedding are not in it. The floor is the bytes over a read-only pass of this run.

#include <algorithm>
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "benchmarks/bench.h"
#include "benchmarks/ceilings.h"
#include "benchmarks/device.h"
#include "benchmarks/passes.h"
#include "cuda/decode_attention.h"
#include "cuda/decode_linear.h"

namespace {

using namespace slice;  // NOLINT(google-build-using-namespace): a program, not a header
using bench::check_cuda;
using bench::DeviceBuffer;
using kernels::DecodeLinear;

constexpr int64_t kElement = 2;
constexpr int64_t kCapacity = 512;
constexpr int32_t kPosition = 143;

struct Shape {
  const char* name;
  int64_t hidden, layers, heads, kv_heads, head_size, ffn, vocabulary;
};

constexpr Shape kShapes[] = {{"llama2-7b", 4096, 32, 32, 32, 128, 11008, 32000},
                             {"llama2-13b", 5120, 40, 40, 40, 128, 13824, 32000},
                             {"smollm2-135m", 576, 30, 9, 3, 64, 1536, 49152}};

struct Form {
  const char* name;
  bool sliced, dense_shortcut;
};

constexpr Form kForms[] = {
    {"dense", false, false}, {"slice25-dense", true, true}, {"slice25-none", true, false}};

enum Part { kQkv, kAttention, kAttentionWriter, kGateUp, kMlpWriter, kHead, kParts };
constexpr const char* kNames[] = {"qkv",     "attention",  "attention-writer",
                                  "gate-up", "mlp-writer", "head"};

class Step {
 public:
  Step(const Shape& shape, const Form& form, cudaStream_t stream)
      : shape_(shape),
        form_(form),
        stream_(stream),
        k_(form.sliced ? shape.hidden / 4 * 3 : shape.hidden),
        qkv_rows_((shape.heads + 2 * shape.kv_heads) * shape.head_size),
        weights_(shape.layers * layer_elements() * kElement + shape.vocabulary * k_ * kElement),
        cache_(2 * shape.layers * cache_elements() * kElement),
        signals_(int64_t{4} << 20),
        results_(int64_t{4} << 20),
        workspace_(int64_t{16} << 20),
        positions_(sizeof kPosition) {
    for (const DeviceBuffer* buffer : {&weights_, &cache_, &signals_}) {
      check_cuda(bench::fill_uniform(buffer->data(), kernels::DataType::kFloat16,
                                     buffer->bytes() / kElement, 1, stream),
                 "fill");
    }
    workspace_.fill(0);
    positions_.write(&kPosition);
  }

  /// Bytes of weights and cache that a part reads, of one layer.
  double bytes(Part part) const {
    if (part == kAttention) {
      return 2.0 * (kPosition + 1) * static_cast<double>(shape_.kv_heads * shape_.head_size) *
             kElement;
    }
    const DecodeLinear l = linear(part, 0);
    return static_cast<double>(l.N * (l.K + l.K2) * kElement);
  }

  int64_t calls(Part part) const { return part == kHead ? 1 : shape_.layers; }

  /// The parts that `wanted` says, in their order.
  bool enqueue(const std::function<bool(Part)>& wanted) const {
    bool good = true;
    for (int64_t layer = 0; layer < shape_.layers; ++layer) {
      for (const Part part : {kQkv, kAttention, kAttentionWriter, kGateUp, kMlpWriter}) {
        if (wanted(part)) good = enqueue(part, layer) && good;
      }
    }
    return good && (!wanted(kHead) || enqueue(kHead, 0));
  }

 private:
  int64_t shortcut_columns() const { return form_.dense_shortcut ? k_ : 0; }
  int64_t attention_width() const { return shape_.heads * shape_.head_size; }
  int64_t layer_elements() const {
    return qkv_rows_ * k_ + k_ * (attention_width() + shortcut_columns()) + 2 * shape_.ffn * k_ +
           k_ * (shape_.ffn + shortcut_columns());
  }
  int64_t cache_elements() const { return shape_.kv_heads * kCapacity * shape_.head_size; }

  bool enqueue(Part part, int64_t layer) const {
    return (part == kAttention
                ? kernels::decode_attention(attention(layer), stream_)
                : kernels::decode_linear(linear(part, layer), stream_)) == cudaSuccess;
  }

  kernels::DecodeAttention attention(int64_t layer) const {
    kernels::DecodeAttention a;
    a.out = results_.data();
    a.qkv = signals_.data();
    a.keys = cache_.as<char>() + 2 * layer * cache_elements() * kElement;
    a.values = static_cast<char*>(a.keys) + cache_elements() * kElement;
    a.positions = positions_.as<int32_t>();
    a.cosine = signals_.as<float>();
    a.sine = signals_.as<float>();
    a.workspace = workspace_.data();
    a.batch = 1;
    a.heads = shape_.heads;
    a.kv_heads = shape_.kv_heads;
    a.head_size = shape_.head_size;
    a.capacity = kCapacity;
    a.rotary_size = shape_.head_size;
    a.splits = kernels::decode_attention_splits(1, shape_.kv_heads, kCapacity, 132);
    return a;
  }

  DecodeLinear linear(Part part, int64_t layer) const {
    const int64_t K2 = shortcut_columns();
    int64_t offset = layer * layer_elements();
    DecodeLinear l;
    l.X = signals_.data();
    l.Y = results_.data();
    l.M = 1;
    const auto reads = [&](int64_t rows) {
      l.N = rows;
      l.K = k_;
      l.norm_hidden = shape_.hidden;
      l.eps = 1e-5;
      if (!form_.sliced) l.norm_weight = signals_.as<char>() + (1 << 20);
    };
    const auto writes = [&](int64_t columns) {
      l.N = k_;
      l.K = columns;
      l.K2 = K2;
      if (K2 > 0) {
        l.Z = signals_.as<char>() + (1 << 20);
      } else {
        l.R = signals_.as<char>() + (1 << 20);
        l.residual_columns = k_;
      }
    };
    if (part == kHead) offset = shape_.layers * layer_elements();
    if (part == kHead) reads(shape_.vocabulary);
    if (part == kQkv) reads(qkv_rows_);
    if (part > kQkv) offset += part == kHead ? 0 : qkv_rows_ * k_;
    if (part == kAttentionWriter) writes(attention_width());
    if (part == kGateUp || part == kMlpWriter) offset += k_ * (attention_width() + K2);
    if (part == kGateUp) reads(2 * shape_.ffn);
    if (part == kGateUp) l.epilogue = kernels::Epilogue::kGatedSilu;
    if (part == kMlpWriter) offset += 2 * shape_.ffn * k_;
    if (part == kMlpWriter) writes(shape_.ffn);
    l.W = weights_.as<char>() + offset * kElement;
    l.V = K2 > 0 ? weights_.as<char>() + (offset + l.N * l.K) * kElement : nullptr;
    return l;
  }

  Shape shape_;
  Form form_;
  cudaStream_t stream_;
  int64_t k_, qkv_rows_;
  DeviceBuffer weights_, cache_, signals_, results_, workspace_, positions_;
};

void write(bench::Csv& csv, const Shape& shape, const Form& form, const std::string& metric,
           double value, double floor) {
  bench::Row row;
  row.benchmark = "token";
  row.model = shape.name;
  row.form = form.name;
  row.dtype = "float16";
  row.batch = "1";
  row.length = std::to_string(kPosition + 1);
  row.metric = metric;
  row.value = value;
  row.unit = "us";
  row.floor = floor;
  csv.write(row);
}

void run(const Shape& shape, const Form& form, double read_gbs, bench::Timer& timer,
         cudaStream_t stream, bench::Csv& csv) {
  const Step step(shape, form, stream);
  const auto time = [&](const std::function<bool(Part)>& wanted) {
    return timer.hot([&] { return step.enqueue(wanted); }).median_us;
  };
  const double whole = time([](Part) { return true; });
  double floor = 0;
  for (int i = 0; i < kParts; ++i) {
    const auto part = static_cast<Part>(i);
    const auto calls = static_cast<double>(step.calls(part));
    const double part_floor = step.bytes(part) / read_gbs * 1e-3;
    const double alone = time([&](Part other) { return other == part; }) / calls;
    const double share = (whole - time([&](Part other) { return other != part; })) / calls;
    floor += part_floor * calls;
    write(csv, shape, form, std::string(kNames[i]) + "_alone_us", alone, part_floor);
    write(csv, shape, form, std::string(kNames[i]) + "_share_us", share, part_floor);
    std::printf("%-13s %-14s %-17s floor %7.2f us  alone %7.2f (%.3f)  share %7.2f (%.3f)\n",
                shape.name, form.name, kNames[i], part_floor, alone, alone / part_floor, share,
                share / part_floor);
  }
  write(csv, shape, form, "kernels_us", whole, floor);
  std::printf("%-13s %-14s floor %7.1f us  kernels %7.1f (%.1f %%)\n", shape.name, form.name, floor,
              whole, 100 * floor / whole);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) try {
  if (!bench::has_gpu()) throw std::runtime_error("no CUDA device");
  bench::Csv csv(argc > 1 ? argv[1] : "token.csv");
  const std::vector<std::string> wanted(argv + std::min(argc, 2), argv + argc);
  const bench::Stream stream;
  bench::Timer timer(stream.get());
  const double read_gbs = bench::measure_read_gbs(timer, stream.get());
  std::printf("read %.0f GB/s\n", read_gbs);
  for (const Shape& shape : kShapes) {
    for (const Form& form : kForms) {
      const std::string name = std::string(shape.name) + ":" + form.name;
      if (wanted.empty() || std::any_of(wanted.begin(), wanted.end(), [&](const std::string& w) {
            return w == shape.name || w == name;
          })) {
        run(shape, form, read_gbs, timer, stream.get(), csv);
      }
    }
  }
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_token: %s\n", error.what());
  return 1;
}
