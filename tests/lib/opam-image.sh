# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# . "$SOURCE_ROOT/tests/lib/opam-image.sh": the image that jobs of `slipway opam ci` are built on, ocaml/opam:debian-12-ocaml-4.13, as examples/opam-ci/image.sh
# makes it: of this machine's own packages in place of downloaded ones, without apt, so that nothing in it looks for a network. Skips the script where it
# cannot be had. After opam-real.sh, or by itself.
"$SLIPWAY" build --check >check 2>&1 || skip_all "kernel: $(tail -n 1 check)"
grep -q '^more than one user in a sandbox *yes' check || skip_all 'kernel: one user id alone in a sandbox'
for tool in ocamlc apt-get dpkg-deb make; do
	command -v $tool >/dev/null || skip_all "build: no $tool"
done
[ "$(ocamlc -version 2>/dev/null)" = 4.13.1 ] || skip_all 'build: no OCaml 4.13.1'

# what a sanitizer is in wants libraries that the image has not
OPAM=$SLIPWAY
if ldd "$SLIPWAY" | grep -q 'lib[a-z]*san\.so'; then
	OPAM=$SOURCE_ROOT/build/slipway
	[ -x "$OPAM" ] || skip_all 'build: no plain program in build/ for the image'
fi
export OPAM

# sudo is small, and not on every machine
(mkdir sudo && cd sudo && apt-get -qq download sudo && dpkg-deb -x sudo_*.deb x) >sudo.log 2>&1 || skip_all 'build: no package sudo from the archive of Debian'

# opam_system: in ./system the files of OCaml, of what packages are built with, of what opam and Slipway call, and of all that these need
opam_system()
{
	mkdir -p system/usr/bin system/usr/sbin system/usr/lib system/usr/lib64 system/etc system/proc system/sys system/dev system/tmp system/run system/root \
		system/home system/var/tmp && chmod 1777 system/tmp system/var/tmp || return 1
	for i in bin sbin lib lib64; do
		ln -s usr/$i system/$i || return 1
	done
	# shellcheck disable=SC2046 # a list
	dpkg -L $(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances --installed \
		ocaml ocaml-base gcc libc6-dev make patch bash dash coreutils findutils diffutils grep sed gzip bzip2 xz-utils tar mawk util-linux passwd login base-files \
		hostname libpam-modules libpam-runtime libaudit1 libselinux1 libarchive13 libcurl4 libssl3 libsqlite3-0 libxxhash0 libyaml-0-2 libzstd1 2>/dev/null |
		sed -n 's/^\([a-z0-9][a-z0-9.+-]*\)$/\1/p' | sort -u) 2>/dev/null |
		sed -e 's,^/\(bin\|sbin\|lib\|lib64\)/,/usr/\1/,' -e '/^\/usr\/share\/\(doc\|man\|locale\|info\|gdb\|i18n\)\//d' \
			-e '/\(lto-dump-[0-9]*\|\/lto1\|\/cc1plus\|\.cmti\?\|san\.so[.0-9]*\|san\.a\|\/ocamldebug\|\/ocamldumpobj\|\.byte\|\/expunge\)$/d' -e '/^\/\(etc\/\(shadow\|passwd\|group\)\|dev\|proc\|sys\)/d' |
		while IFS= read -r f; do
			if [ -L "$f" ] || [ -f "$f" ]; then echo "${f#/}"; fi
		done | sort -u >files
	(cd / && find usr/bin usr/sbin usr/lib -maxdepth 1 -lname '/etc/alternatives/*' && find etc/alternatives -type l && ls etc/pam.d/common-* && echo etc/nsswitch.conf) >>files
	tar -C / -cf - -T files 2>/dev/null | tar -C system -xf - && cp -a sudo/x/usr sudo/x/etc system/ && chmod u+s system/usr/bin/sudo || return 1
	printf 'root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n' >system/etc/passwd
	printf 'root:x:0:\nshadow:x:42:\nnogroup:x:65534:\n' >system/etc/group
	printf 'root:*:1::::::\n' >system/etc/shadow
	printf 'root:*::\n' >system/etc/gshadow
	printf 'UID_MIN 1000\nUID_MAX 60000\nGID_MIN 1000\nGID_MAX 60000\nENCRYPT_METHOD SHA512\nUSERGROUPS_ENAB yes\n' >system/etc/login.defs
	ldconfig -r system
}
opam_system || { echo "Bail out! no system for the image"; exit 1; }
SYSTEM=system sh "$SOURCE_ROOT/examples/opam-ci/image.sh" >image.log 2>&1 || { sed 's/^/# /' image.log; echo 'Bail out! no image'; exit 1; }
rm -rf system
