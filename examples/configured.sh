#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# examples/configured.sh: looks whether this machine's own configuration names a conda channel or a Python index, asks
# each for a few seconds, and says how to go on with what answers.
set -u
: "${HOME:=/nonexistent}"

# answers URL: does it, within 4 seconds?
answers()
{
	if command -v curl >/dev/null; then
		curl -fsIL -m 4 -o /dev/null "$1" 2>/dev/null
	else
		timeout 5 python3 -c 'import sys, urllib.request as r
r.urlopen(r.Request(sys.argv[1], method="HEAD"), timeout=4)' "$1" 2>/dev/null
	fi
}

# without_secrets URL: what is between // and @ is not for the screen
without_secrets()
{
	echo "$1" | sed 's|//[^/@]*@|//***@|; s|/t/[^/]*/|/t/***/|'
}

# yaml_list KEY FILE, yaml_text KEY FILE: enough of YAML for what conda clients write
yaml_list()
{
	awk -v key="$1" '
	/^[^ \t#-]/ { inside = index($0, key ":") == 1 }
	inside && /^[ \t]*-[ \t]*/ { sub(/^[ \t]*-[ \t]*/, ""); sub(/[ \t]+#.*$/, ""); gsub(/["'\'']/, ""); print }
	inside && /\[.*\]/ { sub(/^[^[]*\[/, ""); sub(/\].*$/, ""); gsub(/["'\'' ]/, ""); n = split($0, v, ",")
		for (i = 1; i <= n; i++) print v[i] }' "$2"
}

yaml_text()
{
	sed -n "s/^$1:[ \t]*//p" "$2" | sed "s/[ \t]#.*//; s/[\"']//g" | head -n 1
}

# condarcs: the files, in the order in which they count
condarcs()
{
	for f in "${SLIPWAY_ROOT:-/nonexistent}/config.yml" /etc/slipway/config.yml "${CONDARC:-}" "$HOME/.condarc" \
		"$HOME/.conda/.condarc" "$HOME/.conda/condarc" "${XDG_CONFIG_HOME:-$HOME/.config}/conda/.condarc" \
		/etc/conda/.condarc /etc/conda/condarc; do
		[ ! -f "$f" ] || [ ! -r "$f" ] || echo "$f"
	done
}

first_text()
{
	condarcs | while read -r f; do yaml_text "$1" "$f"; done | head -n 1
}

conda_channels()
{
	condarcs | while read -r f; do
		found=$(yaml_list channels "$f"; yaml_list default_channels "$f")
		[ -z "$found" ] || { echo "$found"; break; }
	done | grep -vx -e defaults -e nodefaults
}

# channel_url NAME: its base URL, nothing where that cannot be told
channel_url()
{
	alias=$(first_text channel_alias)
	case $1 in
	*://*) echo "${1%/}" ;;
	/*) echo "file://${1%/}" ;;
	*) [ -z "$alias" ] || echo "${alias%/}/$1" ;;
	esac
}

python_index()
{
	if [ -n "${PIP_INDEX_URL:-}" ]; then
		echo "$PIP_INDEX_URL"
		return
	fi
	for f in "${PIP_CONFIG_FILE:-}" "${XDG_CONFIG_HOME:-$HOME/.config}/pip/pip.conf" "$HOME/.pip/pip.conf" /etc/xdg/pip/pip.conf \
		/etc/pip.conf; do
		[ ! -f "$f" ] || sed -n 's/^[ \t]*index[-_]url[ \t]*=[ \t]*//p' "$f"
	done | head -n 1
}

conda_channels | while read -r name; do
	url=$(channel_url "$name")
	[ -n "$url" ] || continue
	for file in noarch/repodata.json.zst noarch/repodata.json; do
		answers "$url/$file" || continue
		cat <<-TEXT

			Your configuration names the conda channel '$(without_secrets "$name")', and it answers. To go on with it:
			  slipway search 'python>=3'
			  slipway env create -n real python numpy
			  slipway env run -n real -- python -c 'import numpy; print(numpy.__version__)'
		TEXT
		exit 1
	done
done && cat <<-TEXT

	No conda channel is configured here that answers. With one, by URL or as a folder:
	  slipway env create -n real -c URL-or-folder python numpy
TEXT

index=$(python_index)
if [ -n "$index" ] && answers "${index%/}/pip/"; then
	cat <<-TEXT

		Your configuration names a Python index, $(without_secrets "$index"), and it answers. Slipway does not
		install from it yet. Until it does, pip works in an environment that has it:
		  slipway env create -n py -c CHANNEL python pip
		  slipway env run -n py -- python -m pip install NAME
	TEXT
fi
exit 0
