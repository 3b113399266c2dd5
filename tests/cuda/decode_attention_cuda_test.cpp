#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <vector>

#include "cuda/decode_attention.h"
#include "cuda/detail/capability.h"
#include "tests/support/decode_attention_reference.h"
#include "tests/support/device_buffer.h"
#include "tests/support/kernel_reference.h"

using namespace slice::test;
using slice::kernels::decode_attention;
using slice::kernels::DecodeAttention;

namespace {

constexpr DataType kTypes[] = {DataType::kFloat16, DataType::kBFloat16, DataType::kFloat32};

using Shape = AttentionShape;
using Tables = AttentionTables;
using Inputs = AttentionInputs;
using Outputs = AttentionOutputs;

Outputs run(const Shape& s, const Inputs& in, DataType type, const Stream& stream, int times = 1) {
  const Tables tables = tables_of(s);
  const DeviceBuffer qkv = upload(in.qkv, type), keys = upload(in.keys, type),
                     values = upload(in.values, type),
                     cosine = upload(tables.cosine, DataType::kFloat32),
                     sine = upload(tables.sine, DataType::kFloat32),
                     q_norm = upload(in.q_norm, type), k_norm = upload(in.k_norm, type);
  DeviceBuffer positions(s.batch() * 4);
  positions.write(s.positions.data());
  const Output out(s.batch() * s.heads * s.head_size, type);
  DecodeAttention a;
  a.out = out.data();
  a.qkv = qkv.data();
  a.keys = keys.data();
  a.values = values.data();
  a.positions = positions.as<int32_t>();
  a.cosine = cosine.as<float>();
  a.sine = sine.as<float>();
  a.type = type;
  a.batch = s.batch();
  a.heads = s.heads;
  a.kv_heads = s.kv_heads;
  a.head_size = s.head_size;
  a.capacity = s.capacity;
  a.rotary_size = s.rotary_size;
  a.window = s.window;
  a.splits = s.splits;
  a.scale = s.scale;
  a.softcap = s.softcap;
  if (s.normed) {
    a.q_norm = q_norm.data();
    a.k_norm = k_norm.data();
    a.norm_eps = kNormEps;
  }
  DeviceBuffer workspace(static_cast<int64_t>(decode_attention_workspace_bytes(a)));
  workspace.fill(0);
  a.workspace = workspace.data();
  for (int i = 0; i < times; ++i) REQUIRE(decode_attention(a, stream.get()) == cudaSuccess);
  check_cuda(cudaStreamSynchronize(stream.get()), "decode_attention");
  CHECK(out.guards_are_whole());
  return {out.values(), download(keys, type), download(values, type)};
}

/// The caches must be those of before but for the new rows.
void check_appended(const Shape& s, const Inputs& in, const Outputs& got, DataType type) {
  const Tables tables = tables_of(s);
  std::vector<double> keys = in.keys, values = in.values, bounds(keys.size(), 0.0);
  for (int64_t b = 0; b < s.batch(); ++b) {
    for (int64_t kv = 0; kv < s.kv_heads; ++kv) {
      const int64_t key = b * s.row() + (s.heads + kv) * s.head_size;
      const auto row = turned(s, tables, in, in.k_norm, key, s.positions[b]);
      const int64_t to = s.cache_row(b, kv, s.positions[b]);
      for (int64_t i = 0; i < s.head_size; ++i) {
        keys[to + i] = row[i];
        values[to + i] = in.qkv[key + s.kv_heads * s.head_size + i];
        // The norm's sum has d / 32 + 5 additions; half of its error is the root's.
        const double norm = s.normed ? static_cast<double>(s.head_size) / 32 + 16 : 0;
        bounds[to + i] =
            epsilon(type) * std::abs(row[i]) +
            (16 + norm * std::sqrt(static_cast<double>(s.head_size))) * epsilon(DataType::kFloat32);
      }
    }
  }
  check_within(got.keys, keys, bounds);
  CHECK(got.values == values);
}

void check_against_oracle(const Shape& s, DataType type, const Stream& stream) {
  INFO(name_of(type) << " h " << s.heads << " kv " << s.kv_heads << " d " << s.head_size << " r "
                     << s.rotary_size << " capacity " << s.capacity << " window " << s.window
                     << " splits " << s.splits << " first position " << s.positions[0] << " scale "
                     << s.scale << " cap " << s.softcap << (s.normed ? " normed" : ""));
  const Inputs in = inputs_of(s, type, 11);
  const Outputs got = run(s, in, type, stream);
  check_appended(s, in, got, type);
  check_within(got.out, attention_reference(s, in, got), bound_for(s, in, type));
}

}  // namespace

TEST_CASE("decode_attention matches the float64 oracle for every head size and sharing",
          "[cuda][decode_attention]") {
  require_gpu();
  const Stream stream;
  struct Heads {
    int64_t heads, kv_heads;
  };
  for (const DataType type : kTypes) {
    for (const int64_t d : {6, 10, 40, 64, 80, 96, 128, 136, 256}) {
      for (const Heads h : {Heads{2, 2}, {6, 2}, {8, 2}, {7, 1}, {24, 2}}) {
        check_against_oracle({h.heads, h.kv_heads, d, d / 4 * 2, 600, 0, 3, {0, 260, 599}}, type,
                             stream);
      }
    }
  }
}

TEST_CASE("decode_attention matches the oracle around the bounds of its splits",
          "[cuda][decode_attention]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kTypes) {
    for (const int64_t splits : {1, 2, 7}) {
      for (const int32_t p : {0, 1, 127, 128, 254, 255, 256, 257, 511, 512, 999, 1000}) {
        check_against_oracle({3, 1, 64, 64, 1001, 0, splits, {p, 1000 - p}}, type, stream);
      }
    }
    check_against_oracle({4, 4, 128, 128, 5001, 0, 9, {4999, 0}}, type, stream);
    check_against_oracle({4, 4, 128, 0, 5001, 0, 64, {5000}}, type, stream);
  }
}

TEST_CASE("decode_attention sees the window and no more", "[cuda][decode_attention]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kTypes) {
    for (const int64_t window : {1, 5, 256, 257, 300, 1000}) {
      check_against_oracle({4, 2, 80, 32, 600, window, 4, {0, 4, 255, 256, 299, 599}}, type,
                           stream);
    }
  }
}

TEST_CASE("decode_attention norms heads, scales and caps scores", "[cuda][decode_attention]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kTypes) {
    for (const int64_t d : {6, 64, 80, 128, 256}) {
      for (const bool normed : {false, true}) {
        Shape s{6, 2, d, d / 4 * 2, 600, 0, 3, {0, 260, 599}, normed};
        check_against_oracle(s, type, stream);
        s.scale = 0.1;
        check_against_oracle(s, type, stream);
        s.softcap = 1.5;
        check_against_oracle(s, type, stream);
        s.window = 300;
        s.heads = 14;  // more than a block takes
        check_against_oracle(s, type, stream);
      }
    }
  }
}

TEST_CASE("decode_attention of many sequences matches the oracle", "[cuda][decode_attention]") {
  require_gpu();
  const Stream stream;
  std::vector<int32_t> positions;
  for (int32_t i = 0; i < 960; ++i) positions.push_back(i * 37 % 40);
  for (const DataType type : {DataType::kFloat16, DataType::kBFloat16}) {
    for (const int64_t d : {40, 64, 80, 128, 136, 256}) {
      for (const int64_t group : {1, 2, 3, 7}) {
        Shape s{group, 1, d, d / 4 * 2, 40, 0, 1, positions};
        if (group == 2) s.window = 17;
        if (group == 3) s.softcap = 1.5;
        s.normed = group == 7;
        check_against_oracle(s, type, stream);
      }
    }
    const Shape s{4, 4, 128, 128, 40, 0, 1, positions};
    const Inputs in = inputs_of(s, type, 5);
    CHECK(run(s, in, type, stream).out == run(s, in, type, stream, 5).out);
  }
}

TEST_CASE("decode_attention of many sequences runs as on older devices",
          "[cuda][decode_attention]") {
  require_gpu();
  const Stream stream;
  slice::kernels::detail::pretended_capability.major = 8;
  check_against_oracle({1, 1, 64, 64, 40, 0, 1, std::vector<int32_t>(960, 33)}, DataType::kFloat16,
                       stream);
  slice::kernels::detail::pretended_capability.major = 0;
}

TEST_CASE("decode_attention repeats bit by bit and leaves its workspace usable",
          "[cuda][decode_attention]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kTypes) {
    const Shape s{9, 3, 64, 64, 1000, 0, 11, {999, 500, 77}};
    const Inputs in = inputs_of(s, type, 5);
    const Outputs once = run(s, in, type, stream), often = run(s, in, type, stream, 20);
    CHECK(once.out == often.out);
    CHECK(once.keys == often.keys);
  }
}

TEST_CASE("decode_attention runs in a captured graph", "[cuda][decode_attention]") {
  require_gpu();
  const Stream stream;
  const Shape s{4, 2, 64, 64, 300, 0, 4, {299}};
  const Inputs in = inputs_of(s, DataType::kFloat32, 5);
  const Outputs plain = run(s, in, DataType::kFloat32, stream);
  check_within(plain.out, attention_reference(s, in, plain), bound_for(s, in, DataType::kFloat32));
  const Tables tables = tables_of(s);
  const DataType type = DataType::kFloat32;
  const DeviceBuffer qkv = upload(in.qkv, type), keys = upload(in.keys, type),
                     values = upload(in.values, type), cosine = upload(tables.cosine, type),
                     sine = upload(tables.sine, type);
  DeviceBuffer positions(4);
  positions.write(s.positions.data());
  const Output out(s.heads * s.head_size, type);
  DecodeAttention a{out.data(),
                    qkv.data(),
                    keys.data(),
                    values.data(),
                    positions.as<int32_t>(),
                    cosine.as<float>(),
                    sine.as<float>(),
                    nullptr,
                    type,
                    1,
                    s.heads,
                    s.kv_heads,
                    s.head_size,
                    s.capacity,
                    s.rotary_size,
                    s.window,
                    s.splits};
  DeviceBuffer workspace(static_cast<int64_t>(decode_attention_workspace_bytes(a)));
  workspace.fill(0);
  a.workspace = workspace.data();
  run_captured(stream, [&] { return decode_attention(a, stream.get()); });
  CHECK(out.values() == plain.out);
}

TEST_CASE("decode_attention refuses bad arguments and accepts no sequence", "[decode_attention]") {
  alignas(16) float memory[64] = {};  // never touched: the checks come first
  int32_t position = 0;
  DecodeAttention good{
      memory, memory, memory, memory, &position, memory, memory, memory, DataType::kFloat32,
      1,      2,      1,      8,      4,         8,      0,      1};
  const auto refuses = [&](auto change) {
    DecodeAttention bad = good;
    change(bad);
    return decode_attention(bad, nullptr) == cudaErrorInvalidValue;
  };
  CHECK(refuses([](auto& a) { a.batch = -1; }));
  CHECK(refuses([](auto& a) { a.kv_heads = 0; }));
  CHECK(refuses([](auto& a) { a.heads = 3, a.kv_heads = 2; }));
  CHECK(refuses([](auto& a) { a.head_size = 257; }));
  CHECK(refuses([](auto& a) { a.rotary_size = 10; }));
  CHECK(refuses([](auto& a) { a.rotary_size = 3; }));
  CHECK(refuses([](auto& a) { a.cosine = nullptr; }));
  CHECK(refuses([](auto& a) { a.capacity = 0; }));
  CHECK(refuses([](auto& a) { a.window = -1; }));
  CHECK(refuses([](auto& a) { a.splits = 0; }));
  CHECK(refuses([](auto& a) { a.workspace = nullptr; }));
  CHECK(refuses([](auto& a) { a.positions = nullptr; }));
  CHECK(refuses([](auto& a) { a.type = DataType::kFloat64; }));
  CHECK(refuses([&](auto& a) { a.q_norm = memory; }));
  CHECK(refuses([](auto& a) { a.softcap = -1; }));
  good.batch = 0;
  CHECK(decode_attention(good, nullptr) == cudaSuccess);
}
