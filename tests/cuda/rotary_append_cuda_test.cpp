#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <vector>

#include "cuda/rotary_append.h"
#include "tests/support/device_buffer.h"
#include "tests/support/kernel_reference.h"

using namespace slice::test;
using slice::kernels::rotary_append;
using slice::kernels::RotaryAppend;
using slice::kernels::TokenPlace;

namespace {

constexpr DataType kTypes[] = {DataType::kFloat16, DataType::kBFloat16, DataType::kFloat32};
constexpr double kScale = 2;  // of the inputs

struct Shape {
  int64_t batch, tokens, heads, kv_heads, head_size, rotary_size, capacity, first;
  int64_t offset = 0;     // elements before qkv and the caches
  int64_t sequences = 0;  // of the cache, where each token has a place of its own; batch is 1

  int64_t slots() const { return heads + 2 * kv_heads; }
  int64_t row() const { return slots() * head_size; }
  bool placed() const { return sequences > 0; }
  int64_t cache() const { return (placed() ? sequences : batch) * kv_heads * capacity * head_size; }
  /// Of token t of sequence b: with places these fill one sequence after another, from behind.
  TokenPlace place(int64_t b, int64_t t) const {
    if (!placed()) return {static_cast<int32_t>(b), static_cast<int32_t>(first + t)};
    return {static_cast<int32_t>(t % sequences),
            static_cast<int32_t>(capacity - 1 - t / sequences)};
  }
  int64_t half() const { return rotary_size / 2; }
};

struct Signals {
  std::vector<double> qkv, keys, values;
};

struct Tables {
  std::vector<double> cosine, sine;  // (capacity, r / 2), numbers of float32
};

Tables tables_of(const Shape& s) {
  Tables tables;
  for (int64_t p = 0; p < s.capacity; ++p) {
    for (int64_t i = 0; i < s.half(); ++i) {
      const double angle =
          static_cast<double>(p) *
          std::pow(1e4, -2.0 * static_cast<double>(i) / static_cast<double>(s.rotary_size));
      tables.cosine.push_back(static_cast<float>(std::cos(angle)));
      tables.sine.push_back(static_cast<float>(std::sin(angle)));
    }
  }
  return tables;
}

Signals inputs_of(const Shape& s, DataType type, uint64_t seed) {
  return {rounded(random_values(s.batch * s.tokens * s.row(), kScale, seed), type),
          rounded(random_values(s.cache(), kScale, seed + 1), type),
          rounded(random_values(s.cache(), kScale, seed + 2), type)};
}

/// A head's row at `offset` of qkv, turned to `position`.
std::vector<double> turned(const Shape& s, const Tables& tables, const std::vector<double>& qkv,
                           int64_t offset, int64_t position) {
  std::vector<double> row(qkv.begin() + offset, qkv.begin() + offset + s.head_size);
  for (int64_t i = 0; i < s.half(); ++i) {
    const double u = row[i], v = row[s.half() + i];
    const double c = tables.cosine[position * s.half() + i],
                 n = tables.sine[position * s.half() + i];
    row[i] = u * c - v * n;
    row[s.half() + i] = v * c + u * n;
  }
  return row;
}

Signals rotary_append_reference(const Shape& s, const Signals& in) {
  const Tables tables = tables_of(s);
  Signals out = in;
  for (int64_t b = 0; b < s.batch; ++b) {
    for (int64_t t = 0; t < s.tokens; ++t) {
      for (int64_t slot = 0; slot < s.slots(); ++slot) {
        const int64_t at = (b * s.tokens + t) * s.row() + slot * s.head_size;
        const auto [sequence, position] = s.place(b, t);
        const auto row = turned(s, tables, in.qkv, at, position);
        const int64_t head = sequence * s.kv_heads + (slot - s.heads) % s.kv_heads;
        const int64_t to = (head * s.capacity + position) * s.head_size;
        const bool is_key = slot >= s.heads && slot < s.heads + s.kv_heads;
        if (is_key && s.placed()) std::copy(row.begin(), row.end(), out.qkv.begin() + at);
        if (slot < s.heads) {
          std::copy(row.begin(), row.end(), out.qkv.begin() + at);
        } else if (is_key) {
          std::copy(row.begin(), row.end(), out.keys.begin() + to);
        } else {
          std::copy_n(in.qkv.begin() + at, s.head_size, out.values.begin() + to);
        }
      }
    }
  }
  return out;
}

/// What must be untouched or copied has no room for an error.
std::vector<double> bounds_of(const std::vector<double>& want, const std::vector<double>& before,
                              DataType type) {
  std::vector<double> bounds(want.size(), 0.0);
  for (size_t i = 0; i < want.size(); ++i) {
    if (want[i] != before[i]) {
      bounds[i] = epsilon(type) * std::abs(want[i]) + 4 * kScale * epsilon(DataType::kFloat32) +
                  smallest_step(type);
    }
  }
  return bounds;
}

RotaryAppend arguments_of(const Shape& s, DataType type) {
  RotaryAppend a;
  a.type = type;
  a.batch = s.batch;
  a.tokens = s.tokens;
  a.heads = s.heads;
  a.kv_heads = s.kv_heads;
  a.head_size = s.head_size;
  a.capacity = s.capacity;
  a.rotary_size = s.rotary_size;
  a.first = s.first;
  return a;
}

void check_against_oracle(const Shape& s, DataType type, const Stream& stream,
                          bool captured = false) {
  INFO(name_of(type) << " B " << s.batch << " T " << s.tokens << " h " << s.heads << " kv "
                     << s.kv_heads << " d " << s.head_size << " r " << s.rotary_size << " first "
                     << s.first << " of " << s.capacity << " offset " << s.offset << " sequences "
                     << s.sequences);
  const Signals in = inputs_of(s, type, 1);
  const Tables tables = tables_of(s);
  const DeviceBuffer cosine = upload(tables.cosine, DataType::kFloat32),
                     sine = upload(tables.sine, DataType::kFloat32);
  Output qkv(s.batch * s.tokens * s.row(), type, s.offset), keys(s.cache(), type, s.offset),
      values(s.cache(), type, s.offset);
  qkv.write(in.qkv);
  keys.write(in.keys);
  values.write(in.values);
  RotaryAppend a = arguments_of(s, type);
  a.qkv = qkv.data();
  a.keys = keys.data();
  a.values = values.data();
  a.cosine = cosine.as<float>();
  a.sine = sine.as<float>();
  std::vector<TokenPlace> places;
  for (int64_t t = 0; s.placed() && t < s.tokens; ++t) places.push_back(s.place(0, t));
  DeviceBuffer placed(static_cast<int64_t>(places.size() * sizeof(TokenPlace)));
  if (s.placed()) {
    placed.write(places.data());
    a.places = placed.as<TokenPlace>();
  }
  if (captured) {
    run_captured(stream, [&] { return rotary_append(a, stream.get()); });
  } else {
    REQUIRE(rotary_append(a, stream.get()) == cudaSuccess);
  }
  CHECK(qkv.guards_are_whole());
  CHECK(keys.guards_are_whole());
  CHECK(values.guards_are_whole());
  const Signals want = rotary_append_reference(s, in);
  check_within(qkv.values(), want.qkv, bounds_of(want.qkv, in.qkv, type));
  check_within(keys.values(), want.keys, bounds_of(want.keys, in.keys, type));
  CHECK(values.values() == want.values);
}

}  // namespace

TEST_CASE("rotary_append matches the float64 oracle", "[cuda][rotary_append]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kTypes) {
    for (const Shape& shape : {
             Shape{1, 1, 1, 1, 2, 2, 1, 0},          // the smallest
             Shape{2, 5, 4, 2, 6, 6, 9, 0},          // no pack fits
             Shape{1, 19, 4, 1, 10, 4, 40, 3},       // a part of a head turns
             Shape{2, 3, 3, 3, 5, 0, 8, 2},          // nothing turns, odd heads
             Shape{1, 4, 2, 1, 7, 4, 6, 1},          // an odd rest
             Shape{3, 7, 9, 3, 64, 64, 7, 0},        // SmolLM2, a full cache
             Shape{2, 6, 32, 32, 80, 32, 64, 11},    // Phi-2: units do not divide the block
             Shape{1, 99, 32, 32, 128, 128, 99, 0},  // LLaMA
             Shape{2, 9, 8, 1, 128, 0, 12, 3},       // learned positions
             Shape{1, 3, 5, 5, 24, 8, 8, 4},         // packs fit the head, not what turns
             Shape{1, 2, 40, 8, 512, 512, 4, 1},     // fewer teams than heads
         }) {
      check_against_oracle(shape, type, stream);
    }
  }
}

TEST_CASE("rotary_append puts tokens of several sequences where each belongs",
          "[cuda][rotary_append]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kTypes) {
    for (Shape shape : {
             Shape{1, 1, 1, 1, 2, 2, 1, 0},          // the smallest
             Shape{1, 21, 4, 2, 6, 6, 9, 0},         // no pack fits
             Shape{1, 40, 4, 1, 10, 4, 30, 0},       // a part of a head turns
             Shape{1, 10, 3, 3, 5, 0, 8, 0},         // nothing turns, odd heads
             Shape{1, 100, 9, 3, 64, 64, 64, 0},     // SmolLM2
             Shape{1, 33, 32, 32, 80, 32, 64, 0},    // Phi-2: units do not divide the block
             Shape{1, 70, 32, 8, 128, 128, 200, 0},  // LLaMA
         }) {
      for (const int64_t sequences : {1, 3, 64}) {
        shape.sequences = sequences;
        if (shape.tokens <= sequences * shape.capacity) check_against_oracle(shape, type, stream);
      }
    }
  }
}

TEST_CASE("rotary_append works in unaligned memory", "[cuda][rotary_append]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kTypes) {
    for (const int64_t offset : {1, 4, 8})
      check_against_oracle({2, 5, 4, 2, 64, 64, 9, 2, offset}, type, stream);
  }
}

TEST_CASE("rotary_append runs on the stream it is given, without waiting",
          "[cuda][rotary_append]") {
  require_gpu();
  const Stream stream;
  const Shape shape = {2, 5, 4, 2, 64, 64, 9, 2};
  check_against_oracle(shape, DataType::kFloat16, stream);  // loads the kernel
  check_against_oracle(shape, DataType::kFloat16, stream, /*captured=*/true);
}

TEST_CASE("rotary_append refuses bad arguments and accepts empty ones", "[rotary_append]") {
  alignas(16) float memory[64] = {};  // never touched: the checks come first
  RotaryAppend good = arguments_of({1, 1, 1, 1, 4, 4, 4, 3}, DataType::kFloat32);
  good.qkv = memory;
  good.keys = memory + 16;
  good.values = memory + 32;
  good.cosine = memory + 48;
  good.sine = memory + 56;
  const auto refuses = [&](auto&& change) {
    RotaryAppend bad = good;
    change(bad);
    return rotary_append(bad, nullptr) == cudaErrorInvalidValue;
  };
  CHECK(refuses([](RotaryAppend& a) { a.qkv = nullptr; }));
  CHECK(refuses([](RotaryAppend& a) { a.keys = nullptr; }));
  CHECK(refuses([](RotaryAppend& a) { a.values = nullptr; }));
  CHECK(refuses([](RotaryAppend& a) { a.sine = nullptr; }));
  CHECK(refuses([](RotaryAppend& a) { a.batch = -1; }));
  CHECK(refuses([](RotaryAppend& a) { a.tokens = -1; }));
  CHECK(refuses([](RotaryAppend& a) { a.heads = 0; }));
  CHECK(refuses([](RotaryAppend& a) { a.kv_heads = 0; }));
  CHECK(refuses([](RotaryAppend& a) { a.head_size = 514; }));
  CHECK(refuses([](RotaryAppend& a) { a.rotary_size = 3; }));
  CHECK(refuses([](RotaryAppend& a) { a.rotary_size = 6; }));
  CHECK(refuses([](RotaryAppend& a) { a.first = -1; }));
  CHECK(refuses([](RotaryAppend& a) { a.first = 4; }));
  CHECK(refuses([](RotaryAppend& a) { a.type = DataType::kFloat64; }));
  CHECK(refuses([&](RotaryAppend& a) { a.keys = reinterpret_cast<char*>(memory) + 2; }));
  const TokenPlace place = {0, 3};
  good.places = &place;
  CHECK(refuses([](RotaryAppend&) {}));  // places and a first position
  good.first = 0;
  CHECK(refuses([](RotaryAppend& a) { a.batch = 2; }));
  good.places = nullptr;
  good.tokens = 0;
  CHECK(rotary_append(good, nullptr) == cudaSuccess);
  good.tokens = 1;
  good.batch = 0;
  CHECK(rotary_append(good, nullptr) == cudaSuccess);
}
