// Progress on stderr: a bar on a terminal, now and then a line elsewhere.

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

#include "cli.h"

namespace cli {
namespace {

bool bar_shown = false;  // the terminal's last line is a bar

int terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/// Writes a text where the bar was.
void over_bar(const std::string& text) {
  std::fprintf(stderr, "%s%s", bar_shown ? "\r\033[K" : "", text.c_str());
  std::fflush(stderr);
}

}  // namespace

void end_bar() {
  if (bar_shown) std::fputs("\n", stderr);
  bar_shown = false;
}

slice::OnProgress progress(bool quiet, std::vector<Phase> phases) {
  constexpr double kEvery = 10, kRedraw = 0.1;  // seconds between two lines
  constexpr int kLine = 100;                    // characters of a line that is no bar
  const bool terminal = isatty(STDERR_FILENO) != 0;
  return [quiet, terminal, run = RunProgress(std::move(phases)),
          last = terminal ? -kRedraw : seconds(), ended = false](const slice::Progress& p) mutable {
    check_interrupted();
    if (quiet) return;
    if (!p.note.empty()) {
      over_bar(p.note + "\n");
      bar_shown = false;
      return;
    }
    const double now = seconds();
    run.see(p, now);
    const bool ends = terminal && run.finished() && !ended;
    ended = run.finished();
    if (!ends && (ended || now - last < (terminal ? kRedraw : kEvery))) return;
    last = now;
    if (!terminal) {
      std::fprintf(stderr, "%s\n", run.line(kLine, /*bar=*/false).c_str());
      return;
    }
    over_bar(run.line(terminal_width() - 1, /*bar=*/true));
    bar_shown = true;
    if (ends) end_bar();
  };
}

}  // namespace cli
