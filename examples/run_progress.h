#pragma once

// How far a run of several calls is, as one line.

#include <string>
#include <vector>

#include "libslice/base/progress.h"

namespace cli {

/// A part of a run: what one call reports under one name.
struct Phase {
  std::string name;       ///< slice::Progress::phase
  double flop = 0;        ///< how long it takes, against the others
  int64_t parts = 0;      ///< that a person counts, "layer 3/30"; 0: the call's own steps
  std::string part = "";  ///< their name
};

/// A run of phases that are known beforehand, in their order. A phase may occur twice, and may be
/// left out.
class RunProgress {
 public:
  /// @param phases  empty: every phase is a run by itself
  explicit RunProgress(std::vector<Phase> phases) : phases_(std::move(phases)) {}

  /// To be told all that calls report.
  /// @param now  seconds on any clock
  void see(const slice::Progress& progress, double now);
  /// Share of the whole run, by the phases' FLOP; never falls.
  double done() const { return done_; }
  /// What the phase expects for itself, and for the ones after it what those before them took.
  double seconds_left() const { return left_; }
  /// Whether the last phase is through.
  bool finished() const { return finished_; }
  /// "slicing, layer 12/30": where the run is.
  std::string place() const { return place_; }
  /// One line of at most `width` characters: a bar, the share, the place, the time left, tokens a
  /// second, the kept variance; of those as many as there is room for.
  std::string line(int width, bool bar) const;

 private:
  void enter(const slice::Progress& progress);
  double flop(size_t begin, size_t end) const;

  std::vector<Phase> phases_;
  size_t current_ = 0;    // index of the phase under way
  bool known_ = false;    // it is one of them
  slice::Progress last_;  // that was seen
  double begin_ = -1, done_ = 0, left_ = 0;
  bool finished_ = false;
  std::string place_;
};

}  // namespace cli
