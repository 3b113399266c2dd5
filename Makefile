# Thin doors onto cmake/bootstrap.sh and the presets of CMakePresets.json.
PRESET ?= $(if $(shell command -v nvcc),cuda,cpu)
DEPS := $(or $(LIBSLICE_DEPS),.deps)
BUILD := cmake --preset $(PRESET) && cmake --build --preset $(PRESET)

.PHONY: demo test package bench results docs format fuzz sbom clean

demo:
	cmake/bootstrap.sh --demo && $(BUILD) --target demo
	build/$(PRESET)/bin/demo $(DEPS)/model/SmolLM2-135M-Instruct.Q4_1.gguf $(DEPS)/demo/developers-reference.txt demo

test:
	cmake/bootstrap.sh && cmake --workflow --preset $(PRESET)

# A Python wheel in dist/, and of what is in it without Python a .tar.gz and a .deb: docs/python.md.
package:
	cmake/bootstrap.sh --package
	PYTHONPATH=$(abspath $(DEPS))/package python3 -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist \
	  --config-settings=cmake.define.LIBSLICE_CUDA=$(if $(filter cuda,$(PRESET)),ON,OFF) .
	cd build/wheel && cpack -G TGZ && cpack -G DEB -D CPACK_PACKAGING_INSTALL_PREFIX=/opt/libslice

bench:
	cmake/bootstrap.sh --plots && $(BUILD) --target benchmarks
	benchmarks/bench.sh build/$(PRESET)/bin docs/results
	$(MAKE) results

results:
	cmake/bootstrap.sh --plots
	python3 benchmarks/plot.py || [ $$? = 4 ]
	python3 benchmarks/quality/table.py || [ $$? = 4 ]
	python3 benchmarks/summary.py

docs:
	cmake/bootstrap.sh --docs && $(BUILD) --target docs
	@echo build/$(PRESET)/reference/html/index.html

format:
	cmake/bootstrap.sh && git ls-files -co --exclude-standard -- '*.h' '*.cpp' '*.cu' '*.cuh' | xargs $(DEPS)/bin/clang-format -i

# Minutes a target: `make fuzz MINUTES=10`.
fuzz:
	cmake/bootstrap.sh --fuzz && cmake --preset fuzz && cmake --build --preset fuzz
	tests/fuzz/run.sh $(or $(MINUTES),1)

sbom:
	cmake/bootstrap.sh && $(BUILD)
	python3 cmake/sbom.py build/$(PRESET)/bin $(DEPS) >build/$(PRESET)/libslice.spdx.json
	@echo build/$(PRESET)/libslice.spdx.json

clean:
	rm -rf build demo dist
