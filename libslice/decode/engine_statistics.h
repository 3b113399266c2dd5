#pragma once

#include <cstdint>

namespace slice {

/// Of one model since the engine began, or sums over all. Times in seconds.
struct EngineStatistics {
  int64_t waiting = 0;  ///< requests
  int64_t running = 0;  ///< texts
  int64_t slots = 0;
  int64_t cached_positions = 0, positions = 0;  ///< of the slots: in use, and all
  int64_t submitted = 0;  ///< requests taken; ended ones are in one of the next four
  int64_t finished = 0, cancelled = 0, expired = 0, failed = 0;
  int64_t refused = 0;                   ///< QueueFull
  int64_t prompt_tokens = 0;             ///< of prompts, fed
  int64_t reused_tokens = 0;             ///< of prompts, copied from the cache of another text
  int64_t prompts = 0, prefix_hits = 0;  ///< that are in, and those of which a part was copied
  int64_t prefix_bytes = 0;              ///< kept now
  int64_t completion_tokens = 0;
  int64_t steps = 0;
  double prompt_seconds = 0, step_seconds = 0;  ///< spent feeding prompts, and in steps
  /// Sums over requests: until a slot was free, until the first token, until the end.
  double queue_seconds = 0, first_token_seconds = 0, request_seconds = 0;
  int64_t first_tokens = 0;  ///< requests that had one

  EngineStatistics& operator+=(const EngineStatistics& other);
};

}  // namespace slice
