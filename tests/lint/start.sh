# SPDX-License-Identifier: Apache-2.0
# What is loaded before main: a library in this list costs every command its relocations (doc/decisions/0005-start-with-libc-alone.md).
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"

needed()
{
	LC_ALL=C readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]$/\1/p'
}

more()
{
	needed "$1" | grep -Ev '^(libc|libdl|libpthread|ld-linux[-a-z0-9_]*)\.so\.[0-9]+$'
}

with_libc()
{
	needed "$1" | grep '^libc\.so\.'
}

t 'the program is linked with the C library' with_libc "$SLIPWAY"
t 'and with no other: use base/dl.h' must_fail 1 more "$SLIPWAY"

done_testing
