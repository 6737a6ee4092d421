# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# make_rpms FOLDER: a handful of RPM packages of all kinds into FOLDER, made with rpmbuild: dependencies of every kind,
# weak, rich, with epochs; scriptlets; files with odd names, folders, ghosts; changelogs large and of one day; text that
# is no UTF-8; noarch, of a machine, and sources. Their build times are fixed.

# rpm_build FOLDER SPEC [-bs]: builds it
rpm_build()
{
	SOURCE_DATE_EPOCH=1700000000 rpmbuild "${3:--bb}" --quiet --nodeps \
		--define "_topdir $1/top" --define "_rpmdir $1/out" --define "_srcrpmdir $1/out" \
		--define "_dbpath $1/db" --define "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm" \
		--define "_buildhost build.example" --define "use_source_date_epoch_as_buildtime 1" \
		--define "clamp_mtime_to_source_date_epoch 1" --define "debug_package %{nil}" \
		--define "__spec_install_post %{nil}" --define "_binary_payload w6.gzdio" "$2" >"$1/log" 2>&1 ||
		{ cat "$1/log"; return 1; }
}

# rpm_spec NAME VERSION RELEASE [MORE...]: the head of a spec; further lines as they stand
rpm_spec()
{
	printf 'Name: %s\nVersion: %s\nRelease: %s\nSummary: The %s package\nLicense: MIT\n' "$1" "$2" "$3" "$1"
	shift 3
	for line; do
		printf '%s\n' "$line"
	done
	printf '%%description\nWhat it does.\n'
}

rpm_tool_spec()
{
	rpm_spec tool 2.0~rc1 1.el7 'Epoch: 3' 'Group: Tools/<Odd> & "Quoted"' 'URL: https://tool.example/?a=1&b=2' \
		'Vendor: Example' 'Packager: Somebody <somebody@tool.example>' 'Source0: tool.txt' \
		'Provides: tool-old = 1:1.5-2, /usr/bin/tool-elsewhere, bare' 'Obsoletes: tool-old < 1.5' \
		'Conflicts: other-tool >= 4' 'Requires: lib(x)(64bit)' 'Requires: base >= 2:1.0-1, base < 3' \
		'Requires: libc.so.6(GLIBC_2.4)(64bit), libc.so.6(GLIBC_2.28)(64bit), libc.so.6()(64bit)' \
		'Requires: (base or (other and third >= 2))' 'BuildRequires: make, gcc >= 4' 'Requires: bare' 'Requires(post): /bin/sh, base >= 2:1.0-1' \
		'Requires(pre): shadow' 'Recommends: doc-tool = 1' 'Suggests: (game if desktop)' 'Supplements: desktop' \
		'Enhances: editor > 2' 'Requires: /usr/bin/tool'
	cat <<'X'

Second paragraph: <b>&amp;</b> "quoted" 'single'	tab, ü and €.
%prep
%build
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/etc/tool %{buildroot}/usr/share/tool "%{buildroot}/usr/share/tool/a b"
echo '#!/bin/sh' >%{buildroot}/usr/bin/tool
echo x >%{buildroot}/etc/tool/tool.conf
echo x >"%{buildroot}/usr/share/tool/a b/c&d<e>\"f\".txt"
echo x >%{buildroot}/usr/share/tool/caf$(printf '\303\251')
touch %{buildroot}/usr/share/tool/ghost
%files
%attr(755,root,root) /usr/bin/tool
%dir /etc/tool
%config /etc/tool/tool.conf
%dir /usr/share/tool
"/usr/share/tool/a b"
/usr/share/tool/caf*
%ghost /usr/share/tool/ghost
%post
echo tool was installed >/dev/null
%changelog
* Tue Nov 14 2023 Second <two@tool.example> - 3:2.0~rc1-1
- second of one day
* Tue Nov 14 2023 First <one@tool.example>   - 3:1.9-1
- first of one day & <more>
X
	i=0
	while [ $i -lt 30 ]; do
		printf '* Mon Nov 13 2023 Somebody <x@tool.example> - 1.%s-1\n- change %s\n  goes on\n' $i $i
		i=$((i + 1))
	done
}

# rpm_plain NAME VERSION RELEASE [MORE...]: a package with one file
rpm_plain()
{
	rpm_spec "$@"
	printf '%%prep\n%%build\n%%install\nmkdir -p %%{buildroot}/opt/%s\necho %s >%%{buildroot}/opt/%s/version\n' \
		"$1" "$2" "$1"
	printf '%%files\n/opt/%s\n' "$1"
}

make_rpms()
{
	mkdir -p "$1/top/SOURCES" "$1/out"
	echo text >"$1/top/SOURCES/tool.txt"
	rpm_tool_spec >"$1/tool.spec"
	rpm_plain base 1.5 1 'Epoch: 2' 'BuildArch: noarch' 'Provides: lib(x)(64bit), shadow, libc.so.6(GLIBC_2.28)(64bit)' \
		'Provides: /bin/sh' >"$1/base.spec"
	rpm_plain base 1.6^git5 1 'Epoch: 2' 'BuildArch: noarch' 'Requires: tool-plus+plus >= 1, gone-nowhere' >"$1/base2.spec"
	rpm_plain tool-plus+plus 1 0.1 'BuildArch: noarch' 'AutoReqProv: no' >"$1/plus.spec"
	rpm_spec empty 0 0 'BuildArch: noarch' >"$1/empty.spec"
	printf '%%files\n' >>"$1/empty.spec"
	for spec in tool base base2 plus empty; do
		rpm_build "$1" "$1/$spec.spec" || return 1
	done
	rpm_build "$1" "$1/tool.spec" -bs || return 1
	rm -f "$1"/*.rpm
	find "$1/out" -name '*.rpm' -exec mv {} "$1" \;
	rm -rf "$1/top" "$1/out" "$1/db" "$1/log" "$1"/*.spec
}
