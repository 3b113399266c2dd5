#include "libslice/decode/engine_statistics.h"

namespace slice {

EngineStatistics& EngineStatistics::operator+=(const EngineStatistics& other) {
  for (int64_t EngineStatistics::*count :
       {&EngineStatistics::waiting, &EngineStatistics::running, &EngineStatistics::slots,
        &EngineStatistics::cached_positions, &EngineStatistics::positions,
        &EngineStatistics::submitted, &EngineStatistics::finished, &EngineStatistics::cancelled,
        &EngineStatistics::expired, &EngineStatistics::failed, &EngineStatistics::refused,
        &EngineStatistics::prompt_tokens, &EngineStatistics::reused_tokens,
        &EngineStatistics::prompts, &EngineStatistics::prefix_hits, &EngineStatistics::prefix_bytes,
        &EngineStatistics::completion_tokens, &EngineStatistics::steps,
        &EngineStatistics::first_tokens})
    this->*count += other.*count;
  for (double EngineStatistics::*seconds :
       {&EngineStatistics::prompt_seconds, &EngineStatistics::step_seconds,
        &EngineStatistics::queue_seconds, &EngineStatistics::first_token_seconds,
        &EngineStatistics::request_seconds})
    this->*seconds += other.*seconds;
  return *this;
}

}  // namespace slice
