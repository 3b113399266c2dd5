"""Writes one C++ file of all cpp blocks of the documents: each compiles, and programs can be run by their number.

    python3 cpp_blocks.py > FILE          FILE's program takes the numbers of main functions to run
"""

from blocks import blocks, with_places

includes, bodies, mains = ["#include <cstdlib>", "#include <string>"], [], []
for number, block in enumerate(blocks("cpp")):
    if block.skip:
        continue
    lines = with_places(block.text).split("\n")
    includes += [line for line in lines if line.startswith("#include")]
    body = "\n".join(line for line in lines if not line.startswith("#include"))
    if "int main(" in body:
        mains.append(number)
        body = f"{block.given}\n{body}".replace("int main(", "int program(").rstrip().removesuffix("}") + "return 0;\n}"
    else:
        body = f"{block.given}\ninline void statements() {{\n{body}\n}}"
    place = f'#line {block.line + 1 + sum(line.startswith("#include") for line in lines)} "{block.document}"'
    bodies.append(f"namespace block_{number} {{\n{place}\n{body}\n}}  // namespace block_{number}")

print("\n".join(dict.fromkeys(includes)))
print("#include <libslice/slice.h>")
print("#pragma GCC diagnostic ignored \"-Wunused-variable\"")
print("\n".join(bodies))
print("int main(int argc, char** argv) {\n  int failures = 0;")
print("  for (int i = 1; i < argc; ++i) {\n    const int number = std::atoi(argv[i]);")
for number in mains:
    print(f"    if (number == {number}) failures += block_{number}::program();")
print("  }\n  return failures;\n}")
