# SPDX-License-Identifier: Apache-2.0
# What is printed on a terminal fits it, and keeps what one needs.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
need bzip2 python3 script stty

# on_terminal COLUMNS WORDS...: what slipway prints on a terminal that wide, as lines in ./out
on_terminal()
{
	width=$1
	shift
	TERM=xterm NO_COLOR=1 script -qec "stty cols $width rows 50 && $SLIPWAY $*" /dev/null </dev/null >raw || { cat raw; return 1; }
	tr -d '\r' <raw | sed 's/\x1b\[[0-9;]*m//g' >out
}

fits() # COLUMNS
{
	while read -r line; do
		[ "$(printf %s "$line" | wc -m)" -le "$1" ] || { echo "wider than $1: $line"; return 1; }
	done <out
}

name=a-package-with-a-long-name
small_package $name 1.2.3
"$SLIPWAY" channel publish a-channel-with-a-long-name $name-1.2.3-0.tar.bz2 2>/dev/null
"$SLIPWAY" env create -n tools -c ./a-channel-with-a-long-name $name >/dev/null 2>&1

for width in 40 60 80; do
	for command in "search -c ./a-channel-with-a-long-name $name" "solve -c ./a-channel-with-a-long-name $name" \
		'env packages -n tools'; do
		t "$width columns: $command" on_terminal $width "$command"
		t 'the name is whole, and the version' has "^$name  *1.2.3" out
		t 'nothing is wrapped' fits $width
	done
	t "$width columns: env list" on_terminal $width env list
	t 'the name' has '^tools  *1' out
	t 'fits' fits $width
	t "$width columns: env history" on_terminal $width env history -n tools
	t 'what was done' has 'create' out
	t 'fits' fits $width
	t "$width columns: a plan" on_terminal $width env create -n x --dry-run -c ./a-channel-with-a-long-name $name
	t 'the name in it' has "^+ $name  *1.2.3" out
done
t '60 columns: a channel' on_terminal 60 solve -c ./a-channel-with-a-long-name $name
t 'shows its end, which tells it from others' has '…[^ ]*/noarch' out
t '80 columns: has the build' on_terminal 80 env packages -n tools
t 'of each package' has "^$name  *1.2.3  *0 " out
t 'narrow: it is left out rather than the name' on_terminal 34 env packages -n tools
t 'the name is there' has "^$name  1.2.3\$" out

# seen COLUMNS WORDS...: what the terminal shows when the command is over, as lines in ./out
seen()
{
	on_terminal "$@" && screen <raw >out
}
screen()
{
	python3 -c '
import re, sys
rows, row, column = [""], 0, 0
for part in re.findall(r"\x1b\[\d*[A-Za-z]|[\r\n]|[^\x1b\r\n]+", sys.stdin.buffer.read().decode()):
    if part == "\r":
        column = 0
    elif part == "\n":
        row += 1
        rows += [""] * (row == len(rows))
    elif part[0] != "\x1b":
        rows[row] = rows[row][:column].ljust(column) + part + rows[row][column + len(part):]
        column += len(part)
    elif part[-1] == "A":
        row -= int(part[2:-1] or 1)
    elif part[-1] in "JK":
        rows[row] = rows[row][:column]
        if part[-1] == "J":
            del rows[row + 1:]
print("\n".join(rows))'
}

mkdir -p stage/share/slipway/component
printf 'services:\n  web: {command: [sleep, "1000"]}\n' >stage/share/slipway/component/web.yml
package stage web 1.0
"$SLIPWAY" channel publish a-channel-with-a-long-name web-1.0-0.tar.bz2 2>/dev/null
t 'a note while bars are shown' seen 100 env create -n noted -c ./a-channel-with-a-long-name web
t 'there were bars' has 'unpack .*of' raw
t 'it is left on the screen' has "^note: nothing runs the services of 'noted' here" out
t 'the end, too' has "^'noted' is now at generation 1" out
t 'the bars are not' hasnt '^unpack' out

done_testing
