#include "libslice/slicing/detail/report_style.h"

namespace slice::detail {

const char* const kReportStyle = R"css(
:root {
  color-scheme: light dark;
  --page: #f7f7f5; --card: #ffffff; --text: #1d2530; --muted: #5b6573; --line: #e1e4e8;
  --before: #a7b0bd; --after: #2b6cd4; --gone: #dde2e9; --accent: #c2570c;
  --part0: #7b8794; --part1: #2b6cd4; --part2: #0f9d8a; --part3: #d97a0b; --part4: #8a4fd0;
  --part5: #b9c1cc;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #11151a; --card: #1a2027; --text: #e4e8ed; --muted: #9aa5b3; --line: #2c343e;
    --before: #66717f; --after: #6ba1ff; --gone: #333d49; --accent: #f2a154;
    --part0: #8b97a5; --part1: #6ba1ff; --part2: #3cc9b4; --part3: #f2a13c; --part4: #b58cf2;
    --part5: #56616f;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 66rem; background: var(--page);
  color: var(--text); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif;
}
h1 { margin: 0; font-size: 1.7rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 0 0 .25rem; font-size: 1.1rem; }
h3 { margin: 1.1rem 0 .3rem; font-size: .9rem; }
p { margin: .3rem 0; }
.lead, footer { color: var(--muted); font-size: .88rem; max-width: 46rem; }
section, .tile {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 1rem 1.1rem; margin-top: 1rem; min-width: 0;
}
.tiles {
  display: grid; gap: .7rem; margin-top: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr));
}
.tile { margin: 0; padding: .7rem .9rem; }
.tile p { margin: 0; color: var(--muted); font-size: .82rem; }
.tile .big { color: var(--text); font-size: 1.45rem; font-weight: 650; line-height: 1.35; }
.tile b { color: var(--after); font-weight: 650; white-space: nowrap; }
.tile b.worse { color: var(--accent); }
.pair { display: grid; gap: 0 1rem; grid-template-columns: repeat(auto-fit, minmax(18.5rem, 1fr)); }
.pair > section { display: flow-root; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .6rem .28rem 0; text-align: right; border-bottom: 1px solid var(--line); }
th { font-weight: 400; }
thead th { color: var(--muted); font-size: .8rem; white-space: nowrap; }
tbody th { text-align: left; overflow-wrap: break-word; }
tbody tr:last-child > * { border-bottom: 0; }
td { white-space: nowrap; }
th:last-child, td:last-child { padding-right: 0; }
table.facts td { white-space: normal; text-align: left; overflow-wrap: anywhere; }
table.facts th { width: 9rem; color: var(--muted); vertical-align: top; }
summary { cursor: pointer; color: var(--muted); font-size: .88rem; }
details { margin-top: .6rem; }
.bars { display: grid; gap: .1rem .7rem; grid-template-columns: max-content 1fr max-content; }
.bars > * { align-self: center; white-space: nowrap; font-variant-numeric: tabular-nums; }
.bars > h3, .bars > p { grid-column: 1 / -1; white-space: normal; overflow-wrap: anywhere; }
.bar { display: block; width: 100%; height: .8rem; border-radius: 3px; background: var(--gone); }
.thin { font-size: .85rem; color: var(--muted); }
.chart { display: block; width: 100%; max-width: 34rem; height: auto; }
.chart text { fill: var(--muted); font-size: 11px; }
.grid { stroke: var(--line); stroke-width: 1; }
.axis { stroke: var(--muted); stroke-width: 1; }
.before { fill: var(--before); }
.after { fill: var(--after); }
.gone { fill: var(--gone); }
.part0 { fill: var(--part0); } .part1 { fill: var(--part1); } .part2 { fill: var(--part2); }
.part3 { fill: var(--part3); } .part4 { fill: var(--part4); } .part5 { fill: var(--part5); }
circle { stroke-width: 2; }
.stock { fill: var(--after); stroke: var(--after); }
.free { fill: var(--card); stroke: var(--after); }
.chosen { fill: var(--accent); stroke: var(--accent); }
.key { display: inline-block; width: .7em; height: .7em; margin-right: .45em; }
.whole { white-space: nowrap; }
.legend { font-size: .82rem; color: var(--muted); }
.legend span { margin-right: 1rem; white-space: nowrap; }
.sites {
  display: grid; gap: .6rem .7rem; margin-top: .6rem;
  grid-template-columns: repeat(auto-fill, minmax(5.6rem, 1fr));
}
figure { margin: 0; min-width: 0; }
.spark { display: block; width: 100%; height: auto; }
figcaption { font-size: .72rem; line-height: 1.3; color: var(--muted); overflow-wrap: anywhere; }
figcaption b { color: var(--text); font-weight: 500; }
.text {
  margin: .3rem 0 0; padding: .6rem .8rem; background: var(--page); border-radius: 6px;
  max-height: 22em; overflow: auto; white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: isolate;
}
.text i { color: var(--muted); font-style: normal; }
code { font: .82rem ui-monospace, monospace; overflow-wrap: anywhere; }
@media (max-width: 32rem) {
  body { padding: 1rem .7rem 2rem; }
  section { padding: .8rem .8rem; }
  table { font-size: .84rem; }
  th, td { padding-right: .4rem; }
  table.facts th { width: 6.5rem; }
  .bars { font-size: .84rem; }
  .sites { grid-template-columns: repeat(auto-fill, minmax(4.4rem, 1fr)); }
  .tiles { grid-template-columns: repeat(auto-fit, minmax(8.6rem, 1fr)); gap: .5rem; }
}
@media print {
  body { max-width: none; padding: 0; }
  section, .tile { break-inside: avoid; }
}
)css";

}  // namespace slice::detail
