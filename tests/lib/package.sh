# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Packages made on the spot, for tests of whole commands. Needs tar and bzip2.
#
#	mkdir -p stage/bin; printf '#!/bin/sh\necho 1\n' >stage/bin/tool; chmod +x stage/bin/tool
#	package stage tool 1 'lib >=1'           makes ./tool-1-0.tar.bz2 (noarch) of the folder's files, and removes it
#	small_package x 1                        ./x-1-0.tar.bz2 with the one file share/x
#
# A file that holds $PLACEHOLDER gets the environment's path there.
PLACEHOLDER=/build/placehold_placehold_placehold_placehold_placehold_placehold_placehold_placehold_placehold_placehold

# package STAGE NAME VERSION [DEPENDENCY]...
package()
{
	package_stage=$1 package_name=$2 package_version=$3
	shift 3
	package_depends=
	for package_d; do
		package_depends="$package_depends${package_depends:+,}\"$package_d\""
	done
	mkdir -p "$package_stage/info"
	(
		cd "$package_stage" || exit 1
		printf '{"name":"%s","version":"%s","build":"0","build_number":0,"subdir":"noarch","noarch":"generic","depends":[%s]}\n' \
			"$package_name" "$package_version" "$package_depends" >info/index.json
		find . \( -type f -o -type l \) ! -path './info/*' | sed 's,^\./,,' | LC_ALL=C sort >info/files
		while read -r package_f; do
			! grep -qF "$PLACEHOLDER" "$package_f" 2>/dev/null || echo "$PLACEHOLDER text $package_f"
		done <info/files >info/has_prefix
		find . -exec touch -h -d @1000000000 {} +
	) || return 1
	tar -cjf "$package_name-$package_version-0.tar.bz2" --owner=0 --group=0 --sort=name -C "$package_stage" . || return 1
	rm -rf "$package_stage"
}

# small_package NAME VERSION
small_package()
{
	mkdir -p small_package/share
	echo "$1 $2" >"small_package/share/$1"
	package small_package "$1" "$2"
}
