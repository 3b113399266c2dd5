// libFuzzer's own changes, and now and then a part of the input many times in a row: so that work
// that grows with the square of something takes long enough to be found.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  std::minstd_rand random(seed);
  random.discard(3);
  if (size == 0 || size >= max_size || random() % 64 != 0) {
    return LLVMFuzzerMutate(data, size, max_size);
  }
  const size_t begin = random() % size;
  const size_t length = 1 + random() % std::min<size_t>(size - begin, 64);
  const size_t fit = (max_size - size) / length;
  const size_t copies = fit >> random() % 12;  // as often a few as many
  uint8_t* end = data + begin + length;
  std::memmove(end + copies * length, end, size - begin - length);
  for (size_t i = 0; i < copies; ++i) std::memcpy(end + i * length, data + begin, length);
  return size + copies * length;
}
