# Thin doors onto cmake/bootstrap.sh and the presets of CMakePresets.json.
PRESET ?= $(if $(shell command -v nvcc),cuda,cpu)
DEPS := $(or $(LIBSLICE_DEPS),.deps)
BUILD := cmake --preset $(PRESET) && cmake --build --preset $(PRESET)

.PHONY: demo test bench format clean

demo:
	cmake/bootstrap.sh --demo && $(BUILD) --target demo
	build/$(PRESET)/bin/demo $(DEPS)/model/SmolLM2-135M-Instruct.Q4_1.gguf $(DEPS)/demo/developers-reference.txt demo

test:
	cmake/bootstrap.sh && cmake --workflow --preset $(PRESET)

bench:
	cmake/bootstrap.sh && $(BUILD) --target bench_kernels
	SLICE_COMMIT=$$(git describe --always --dirty) build/$(PRESET)/bin/bench_kernels build/kernels.csv

format:
	cmake/bootstrap.sh && git ls-files -co --exclude-standard -- '*.h' '*.cpp' '*.cu' '*.cuh' | xargs $(DEPS)/bin/clang-format -i

clean:
	rm -rf build demo
