# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# What OBuilder and our builder are asked and answer, in a form that can be compared.
#
#	. "$SOURCE_ROOT/tests/lib/obuilder.sh"
#	obuilder_context DIR       the folder that tests/obuilder/*.spec copy from
#	obuilder_plain <LOG        LOG without time stamps, blank lines and results; ids are numbered in the order in which they appear

obuilder_context()
{
	mkdir -p "$1/dir/sub" "$1/.git" || return 1
	echo a >"$1/a.txt" && printf nested >"$1/dir/sub/c.txt" && echo head >"$1/.git/HEAD" && printf '#!/bin/sh\necho run\n' >"$1/run.sh" &&
		cp "$1/run.sh" "$1/dir/sub/tool" && chmod 755 "$1/run.sh" "$1/dir/sub/tool" && chmod 644 "$1/a.txt" "$1/dir/sub/c.txt" &&
		ln -sfn ../a.txt "$1/dir/link" && ln -sfn /etc "$1/outside" && { [ -p "$1/fifo" ] || mkfifo "$1/fifo"; } &&
		find "$1" -exec touch -h -d '2020-06-01 12:00 UTC' {} +
}

# The note below '(from' tells how the image came, which is another matter here: it is kept as its id alone. What a step prints without
# a last newline gets one.
obuilder_plain()
{
	sed -e 's/^[0-9]\{4\}-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]\.[0-9][0-9]:\{0,1\} //' -e 's/\(.\)---> \(saved\|using\)/\1\n---> \2/g' |
		awk '/^Got: / || /^Job succeeded/ || /^exit [0-9]+$/ || /^obuilder: \[WARNING\]/ { next }
		$0 == "" { next }
		/^---> (saved as|using) "[0-9a-f]+"/ {
			split($0, part, "\"")
			if (!(part[2] in number)) number[part[2]] = ++n
			if (from) print "---> image " number[part[2]]
			else print part[1] number[part[2]] part[3]
			from = 0
			next
		}
		{ from = /^\(from /; print }'
}
