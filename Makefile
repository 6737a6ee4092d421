# SPDX-License-Identifier: Apache-2.0
# A front for fingers that type make; the build is meson's.
all: build
	ninja -C build
check: build
	meson test -C build --print-errorlogs
asan fault fuzz: %: build-%
	ninja -C build-$* && meson test -C build-$* --no-rebuild --print-errorlogs
build build-asan build-fault build-fuzz:
	tools/setup $@
demo-pair:
	./demo-pair
fmt:
	tools/sort-includes $$(git ls-files 'src/*.c' 'src/*.h') && tools/check-format --fix
.PHONY: all check asan fault fuzz demo-pair fmt
