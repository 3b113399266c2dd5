"""The scripts that make docs/results: rows → tables and figures.        python3 tests/benchmarks/results_test.py"""

import pathlib
import re
import sys
import tempfile
import unittest
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import plot  # noqa: E402
import rows  # noqa: E402
import summary  # noqa: E402

HEADER = ("benchmark,model,form,dtype,batch,length,metric,value,unit,floor,share,baseline,baseline_value,ratio,kind,gpu,"
          "driver,cuda,libtorch,commit,date\n")


def decode_row(batch, value, commit, gpu="NVIDIA H100"):
    return (f"decode,llama2-7b,dense,float16,{batch},144,decode_ms,{value},ms,4.25,{4.25 / value:g},libtorch,20.5,"
            f"{20.5 / value:g},measured,{gpu},580,13.0,,{commit},2026-01-01\n")


class Results(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)

    def write(self, name, *lines):
        (self.folder / name).write_text(HEADER + "".join(lines), encoding="utf-8")

    def test_the_latest_row_of_a_key_counts_and_rows_without_a_commit_do_not(self):
        self.write("decode.csv", decode_row(1, 9, "aaaaaaa"), decode_row(2, 7, "aaaaaaa"), decode_row(1, 6, "bbbbbbb"),
                   decode_row(1, 5, ""), decode_row(1, 4, "bbbbbbb", gpu="NVIDIA H200"))
        kept = rows.latest(rows.read(self.folder))
        self.assertEqual([(row["batch"], row["value"], row["gpu"]) for row in kept],
                         [("1", 6, "NVIDIA H100"), ("2", 7, "NVIDIA H100"), ("1", 4, "NVIDIA H200")])
        self.assertEqual(rows.source(kept[:2]), "commits bbbbbbb, aaaaaaa; NVIDIA H100")

    def test_tables_hold_every_value_with_its_commit(self):
        self.write("decode.csv", decode_row(1, 6.25, "aaaaaaa"))
        line, = (line for line in summary.page(self.folder).splitlines() if "aaaaaaa" in line)
        self.assertEqual([cell.strip() for cell in line.strip("|").split("|")],
                         ["llama2-7b decode_ms", "dense", "float16", "1", "144", "6.25 ms", "0.68", "libtorch", "3.28",
                          "measured", "NVIDIA H100, aaaaaaa"])

    def test_numbers_have_no_exponents(self):
        for value, text in ((1234567, "1234567"), (0.000123, "0.000123"), (1.5e-7, "0.00000015"), (12.3456, "12.35"), (100.0, "100"), (None, "")):
            self.assertEqual(summary.number(value), text)

    def test_a_form_says_how_many_weights_it_removed(self):
        told = 0
        for row in rows.read(ROOT / "docs/results"):
            percent = re.search(r"blocks -([\d.]+) %", row["kind"])
            share = rows.removed_share(row) if row["metric"] == "perplexity" else None
            if percent and share is not None:
                told += 1
                # Channels in a form are the mean of a layer, rounded.
                self.assertAlmostEqual(100 * share, float(percent[1]), delta=0.05, msg=row["form"])
        self.assertGreater(told, 5)

    @unittest.skipIf(plot.matplotlib is None, "no matplotlib")
    def test_figures_are_small_and_the_same_from_the_same_rows(self):
        for path in (ROOT / "docs/results").glob("*.csv"):
            (self.folder / path.name).write_bytes(path.read_bytes())
        self.assertEqual(plot.main(self.folder), 0)
        figures = {path.name: path.read_bytes() for path in self.folder.glob("*.svg")}
        self.assertLessEqual({"decode.svg", "quality.svg", "roofline.svg", "slicing.svg"}, set(figures))
        self.assertEqual(plot.main(self.folder), 0)
        for name, text in figures.items():
            with self.subTest(name):
                self.assertEqual((self.folder / name).read_bytes(), text)
                self.assertLess(len(text), 80_000)
                xml.etree.ElementTree.fromstring(text)
                self.assertRegex(text.decode(), r"commits? [0-9a-f]{7}.*NVIDIA")
                self.assertNotIn(b"dc:date", text)

    @unittest.skipIf(plot.matplotlib is None, "no matplotlib")
    def test_a_folder_without_rows_gives_no_figures(self):
        self.assertEqual(plot.main(self.folder), 0)
        self.assertEqual(list(self.folder.glob("*.svg")), [])

    def test_colours_are_legible_on_a_light_page_and_on_a_dark_one(self):
        def luminance(colour):
            parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
            linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
            return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear))

        for colour in (*plot.COLOURS, plot.GREY):
            for page in ("#ffffff", "#0d1117"):
                low, high = sorted((luminance(colour), luminance(page)))
                self.assertGreaterEqual((high + 0.05) / (low + 0.05), 3, f"{colour} on {page}")


if __name__ == "__main__":
    unittest.main()
