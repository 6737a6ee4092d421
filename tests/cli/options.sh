# SPDX-License-Identifier: Apache-2.0
# An option that a verb has no use for is refused, not passed over.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"

refuses() # WORDS...
{
	t "refuses: $*" must_fail 2 "$SLIPWAY" "$@"
}
refuses env list -n e
refuses env list --generation 1
refuses env history -n e --generation 1
refuses env packages -n e --wait 1
refuses env packages -n e --format yml
refuses env check -n e --yml
refuses env check -n e --wait 1
refuses env remove -n e --generation 1
refuses env export -n e --yml --explicit
refuses env export -n e --format spr --yml
refuses env export -n e --no-builds
refuses env create -n e --all x
refuses env create -n e --remove y x
refuses apply list -n e --all
printf '@EXPLICIT\nfile:///c/noarch/x-1-0.tar.bz2\n' >list
refuses env create -n e -f list x
refuses env update -n e -f list x
refuses env update -n e -f list --all
refuses env update -n e -f list --remove x
refuses store size --repair
refuses store gc --repair
refuses store verify --min-age 1
refuses solve --replay x.test numpy
refuses solve -c . --exclude-newer 20240501 x

t 'a wait beyond all bounds is a long one' must_fail 1 "$SLIPWAY" env remove -n e --wait 9223372036854775807
t 'there is no such environment' has "no environment 'e'" err

done_testing
