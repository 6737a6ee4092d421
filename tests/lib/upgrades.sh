# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# A host whose environment 'e' has a package 'web' of versions 1 and 2, and what may be seen of it from outside. For
# sweeps: whatever was done to it, it is at one of them, whole. The caller has tests/lib/package.sh and sets
#
#	$M       the folder with all that there is of the host: root/, ch/ (its channel), host/ (its own files)
#	$kind    component: the package has state and configuration in host/; else it has none
#	$from    of host_is: the state that it came from, as powercut.sh calls them

web()
{
	mkdir -p stage/share/web stage/bin
	printf '#!/bin/sh\ncat "%s/share/web/version"\n' "$PLACEHOLDER" >stage/bin/web
	chmod +x stage/bin/web
	echo "$1" >stage/share/web/version
	echo "workers: $1" >stage/share/web/web.conf
	if [ "$kind" = component ]; then
		mkdir -p stage/share/slipway/component
		cat >stage/share/slipway/component/web.yml <<-X
			state:
			  data: {format: "1", path: $M/host/data}
			configuration:
			  $M/host/web.conf:
			    default: share/web/web.conf
		X
	fi
	package stage web "$1"
}

# host_empty: packages in a channel, nothing else
host_empty()
{
	mkdir -p "$M/host"
	rm -f ./*.tar.bz2
	web 1 && web 2 && "$SLIPWAY" -q channel publish "$M/ch" ./*.tar.bz2 && "$SLIPWAY" -q channel add "$M/ch" --name ch
}

# host_one: version 1, and the state that it has written
host_one()
{
	"$SLIPWAY" -q install add web=1 -n e activate commit && mkdir "$M/host/data" && echo old >"$M/host/data/db"
}

# at: "current/committed state", each as a version: what is there now, or what is wrong with it
at()
{
	"$SLIPWAY" show install summary --json >at.json 2>at.err || { echo "show install summary: $(cat at.err)"; return; }
	at_rows=$(awk -F'"' '
		$2 == "environment" { mine = $4 == "e" }
		!mine { next }
		$2 == "state" && !state { state = $4; next }
		$2 == "state" { is = $4 }
		$2 == "version" { n = split($4, word, " "); version[is] = word[n] }
		$2 == "timer" { timer = $4 }
		END {
			current = "U" in version ? version["U"] : "C" in version ? version["C"] : "none"
			committed = "C" in version ? version["C"] : "D" in version ? version["D"] : "none"
			print current "/" committed, (state ? state : "none") (state == "activated" && timer != "automatic" ? " without a timer" : "")
		}' at.json)
	at_link=none
	if [ -L "$M/root/env/e/current" ]; then
		at_link=
		read -r at_link <"$M/root/env/e/current/share/web/version"
	fi 2>>at.err
	[ "$at_link" = "${at_rows%%/*}" ] || at_rows="$at_rows, and its link leads to '$at_link'"
	echo "$at_rows"
}

# clean: no folder without a row, no row without a folder, no checkpoint without an operation, no file half written
clean()
{
	clean_rows=$(awk -F'[:,]' '/"generations": / { rows = 1 } /\]/ { rows = 0 } rows && /"generation":/ { print $2 + 0 }' at.json | sort | tr '\n' ' ')
	clean_folders=$(cd "$M/root/env/e" 2>/dev/null && for f in *; do [ "$f" = current ] || [ "$f" = '*' ] || echo "$f"; done | sort | tr '\n' ' ')
	[ "$clean_rows" = "$clean_folders" ] || { echo "generations with a row: $clean_rows, with a folder: $clean_folders"; return 1; }
	case $1 in
	*' none' | *' added') [ ! -e "$M/root/checkpoint/e" ] || { echo 'a checkpoint is left'; find "$M/root/checkpoint"; return 1; } ;;
	esac
	for clean_f in "$M"/host/.* "$M"/host/*; do
		case ${clean_f#"$M/host/"} in
		. | .. | '*' | data | web.conf | web.conf.default) ;;
		*) echo "litter: $clean_f"; return 1 ;;
		esac
	done
	for g in $clean_rows; do
		"$SLIPWAY" env check -n e --generation "$g" >said.check 2>&1 || { cat said.check; return 1; }
	done
	"$SLIPWAY" -q store verify >said.check 2>&1 || { cat said.check; return 1; }
}

# host_is VERSION: configuration and state go with the version that runs
host_is()
{
	[ "$kind" = component ] || return 0
	case $1 in
	none/*) [ ! -e "$M/host/web.conf" ] || { echo 'a configuration file is left'; return 1; } ;;
	*)
		[ "$(cat "$M/host/web.conf")" = "workers: ${1%%/*}" ] || { echo "at $1 web.conf says: $(cat "$M/host/web.conf")"; return 1; }
		host_db=$(cat "$M/host/data/db" 2>&1)
		# a way back from an activation puts the state back, one from a commit leaves it
		case $from:$1 in
		activated:1/* | one:1/* | added:* | one:2/*) [ "$host_db" = old ] ;;
		empty:*) ;;
		*) [ "$host_db" = new ] ;;
		esac || { echo "at $1 the state is: $host_db"; return 1; }
		;;
	esac
}
