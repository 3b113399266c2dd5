#include <catch2/catch_test_macros.hpp>
#include <vector>

#include "cuda/decode_step.h"
#include "cuda/detail/capability.h"
#include "tests/support/decode_step_network.h"

using namespace slice::test;

namespace {

using Network = DecodeStepShape;
using Step = DecodeStepNetwork;

void run(const Step& step, const Stream& stream, int times) {
  REQUIRE(decode_step_runs(step.operations()));
  const DeviceBuffer workspace(
      static_cast<int64_t>(decode_step_workspace_bytes(step.operations())));
  REQUIRE(prepare_decode_step(step.operations(), workspace.data()) == cudaSuccess);
  for (int i = 0; i < times; ++i) {
    REQUIRE(decode_step(step.operations(), workspace.data(), stream.get()) == cudaSuccess);
  }
  check_cuda(cudaStreamSynchronize(stream.get()), "decode_step");
}

void check_network(const Network& network, const Stream& stream) {
  INFO(name_of(network.type) << " hidden " << network.hidden << " heads " << network.heads << "/"
                             << network.kv_heads << " of " << network.head_size << " ffn "
                             << network.ffn << " position " << network.position << " window "
                             << network.window << " splits " << network.splits << " skip "
                             << static_cast<int>(network.skip));
  const Step step(network);
  run(step, stream, 1);
  step.check();
}

constexpr DataType kHalfTypes[] = {DataType::kFloat16, DataType::kBFloat16};

}  // namespace

TEST_CASE("decode_step matches the float64 oracles", "[cuda][decode_step]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kHalfTypes) {
    for (const Skip skip : {Skip::kIdentity, Skip::kDiagonal, Skip::kDense, Skip::kLowRank}) {
      for (const int64_t d : {64, 128}) {
        Network n;
        n.type = type;
        n.skip = skip;
        n.head_size = d;
        check_network(n, stream);
        n.hidden = 1048;  // a chunk and a little
        n.ffn = 1032;
        n.vocabulary = 602;
        n.bias = true;
        n.norm = NormForm::kRmsBare;
        n.normed_heads = true;
        n.epilogue = Epilogue::kRelu;
        check_network(n, stream);
        n.layers = 1;
        n.heads = 6;
        n.kv_heads = 2;
        n.epilogue = Epilogue::kGatedGeluTanh;
        n.softcap = 1.5;
        check_network(n, stream);
      }
    }
  }
}

TEST_CASE("decode_step takes the mean out before products", "[cuda][decode_step]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kHalfTypes) {
    for (const NormForm norm : {NormForm::kLayer, NormForm::kLayerBare}) {
      for (const int64_t hidden : {272, 1048, 2560, 5192}) {
        Network n;
        n.type = type;
        n.norm = norm;
        n.hidden = hidden;
        n.bias = true;
        n.epilogue = Epilogue::kGeluTanh;
        check_network(n, stream);
        n.parallel = true;
        check_network(n, stream);
      }
    }
  }
}

TEST_CASE("decode_step leaves blocks without work where a product has few columns",
          "[cuda][decode_step]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kHalfTypes) {
    for (const int64_t rank : {8, 16, 64, 200}) {
      Network n;
      n.type = type;
      n.skip = Skip::kLowRank;
      n.rank = rank;
      n.layers = 5;
      const Step step(n);
      run(step, stream, 1);
      step.check();
      const auto once = step.outputs();
      run(step, stream, 100);
      CHECK(step.outputs() == once);
    }
  }
}

TEST_CASE("decode_step attends with heads of every size", "[cuda][decode_step]") {
  require_gpu();
  const Stream stream;
  for (const int64_t d : {8, 40, 72, 80, 96, 112, 120}) {
    for (const int64_t position : {0, 40, 700}) {
      Network n;
      n.heads = 10;
      n.kv_heads = d == 80 ? 10 : 5;
      n.head_size = d;
      n.hidden = 320;
      n.position = position;
      n.capacity = position + 3;
      n.splits = 4;
      n.normed_heads = d == 96;
      n.layers = 1;
      if (n.heads * d < 272) n.heads = n.kv_heads = 40;
      check_network(n, stream);
    }
  }
}

TEST_CASE("decode_step attends at every position", "[cuda][decode_step]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kHalfTypes) {
    for (const int64_t d : {64, 128}) {
      for (const int64_t position :
           {0, 1, 31, 32, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1000, 1999}) {
        for (const int64_t window : {0, 300}) {
          Network n;
          n.type = type;
          n.head_size = d;
          n.position = position;
          n.capacity = position + 3;
          n.window = window;
          n.splits = 8;
          n.layers = 1;
          check_network(n, stream);
        }
      }
    }
  }
}

TEST_CASE("decode_step repeats bit by bit, in a captured graph too", "[cuda][decode_step]") {
  require_gpu();
  const Stream stream;
  Network n;
  n.hidden = 576;
  n.heads = 9;
  n.kv_heads = 3;
  n.ffn = 1536;
  n.layers = 6;
  n.position = 700;
  n.capacity = 1000;
  n.splits = 4;
  const Step step(n);
  run(step, stream, 1);
  const auto once = step.outputs();
  run(step, stream, 200);
  CHECK(step.outputs() == once);

  const DeviceBuffer workspace(
      static_cast<int64_t>(decode_step_workspace_bytes(step.operations())));
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t replay = nullptr;
  check_cuda(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal), "begin");
  REQUIRE(prepare_decode_step(step.operations(), workspace.data()) == cudaSuccess);
  REQUIRE(decode_step(step.operations(), workspace.data(), stream.get()) == cudaSuccess);
  check_cuda(cudaStreamEndCapture(stream.get(), &graph), "end");
  check_cuda(cudaGraphInstantiate(&replay, graph, 0), "instantiate");
  for (int i = 0; i < 50; ++i) check_cuda(cudaGraphLaunch(replay, stream.get()), "launch");
  check_cuda(cudaStreamSynchronize(stream.get()), "replay");
  CHECK(step.outputs() == once);
  cudaGraphExecDestroy(replay);
  cudaGraphDestroy(graph);
}

TEST_CASE("decode_step runs no list that it cannot", "[cuda][decode_step]") {
  require_gpu();
  const Step step(Network{});
  const auto runs_with = [&](auto&& change) {
    std::vector<DecodeOperation> operations = step.operations();
    change(operations);
    return decode_step_runs(operations);
  };
  const auto linear = [](std::vector<DecodeOperation>& operations, size_t i) -> DecodeLinear& {
    return std::get<DecodeLinear>(operations[i]);
  };
  REQUIRE(runs_with([](auto&) {}));
  CHECK_FALSE(runs_with([](auto& o) { o.clear(); }));
  CHECK_FALSE(runs_with([&](auto& o) { linear(o, 0).M = 2; }));
  CHECK_FALSE(runs_with([&](auto& o) { linear(o, 0).type = DataType::kFloat32; }));
  CHECK_FALSE(runs_with([&](auto& o) { linear(o, 0).K -= 4; }));
  CHECK_FALSE(
      runs_with([&](auto& o) { o.back() = linear(o, 0), linear(o, o.size() - 1).N = 129; }));
  CHECK_FALSE(runs_with([&](auto& o) { linear(o, 0).N = 256; }));  // qkv of few columns
  CHECK_FALSE(runs_with([&](auto& o) {  // one of few columns after another
    linear(o, 2).N = 64;
    linear(o, 2).residual_columns = 0;
    linear(o, 3).K = 64;
    linear(o, 3).N = 64;
    o.resize(4);
  }));
  CHECK(runs_with([&](auto& o) { linear(o, 3).X = linear(o, 3).W; }));        // plain memory
  CHECK_FALSE(runs_with([&](auto& o) { linear(o, 8).X = linear(o, 8).W; }));  // too late for it
  CHECK_FALSE(runs_with([](auto& o) { o.erase(o.begin()); }));                // whose qkv is plain
  CHECK_FALSE(runs_with([](auto& o) { std::get<DecodeAttention>(o[1]).head_size = 60; }));
  CHECK_FALSE(runs_with([&](auto& o) {  // a part of what an operation made
    linear(o, 3).X = static_cast<const char*>(linear(o, 3).X) + 16;
  }));
  slice::kernels::detail::pretended_capability.major = 8;
  CHECK_FALSE(runs_with([](auto&) {}));
  slice::kernels::detail::pretended_capability.major = 0;
  std::vector<DecodeOperation> wrong = step.operations();
  linear(wrong, 0).M = 2;
  const DeviceBuffer workspace(256);
  CHECK(prepare_decode_step(wrong, workspace.data()) == cudaErrorInvalidValue);
}
