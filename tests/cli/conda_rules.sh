# SPDX-License-Identifier: Apache-2.0
# The rules of CEP 33 (order of versions) and CEP 29 (specs) as rows, through the commands that scripts rely on.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"

# compares A OP B: and the other way round
compares()
{
	prints "$2" "$SLIPWAY" version compare --scheme conda -- "$1" "$3" || return 1
	prints "$(echo "$2" | tr '<>' '><')" "$SLIPWAY" version compare --scheme conda -- "$3" "$1"
}

# Each version is below the next group; versions of one line are equal.
chain='0.4 0.4.0
0.4.1.rc 0.4.1.RC 0.4.1.0rc
0.4.1+local 0.4.1+LOCAL
0.4.1+0.local
0.4.1 0.4.1+0 0.4.1+0.0
0.4.1+1.local
0.5a1
0.5b3
0.5C1 0.5c1
0.5
0.9.6
0.960923
1.0 1 01.00 1.0.0.0
1.1dev1
1.1_
1.1a1
1.1rc
1.1.0dev1 1.1.dev1 1.1-dev1 1.1_dev1
1.1.0_
1.1.a1 1.1.0a1
1.1.0rc 1.1.rc
1.1.0rc1
1.1.0rc10
1.1 1.1.0 1.1.0.0 1_1 1-1
1.1.post1 1.1.0post1
1.1.0post2
1.1.1
1.1post1
1.2
1996.07.12 1996.7.12
2147483647
1!0.4.1
1!3.1.1.6
2!0.4.1'
before=
while read -r line; do
	first=${line%% *}
	for v in $line; do
		[ "$v" = "$first" ] || t "$first = $v" compares "$first" = "$v"
		[ -z "$before" ] || t "$before < $v" compares "$before" '<' "$v"
	done
	before=$first
done <<-X
	$chain
X

while read -r a op b; do
	t "$a $op $b" compares "$a" "$op" "$b"
done <<'X'
1.0.1_ < 1.0.1a
1.0.1_ < 1.0.1
1.0.1a < 1.0.1a_
1.0.1a_ < 1.0.1b
1.1.1k < 1.1.1
1.1.1k < 1.1.1l
2021a < 2021
9d < 9e
1.0devx < 1.0devy
1.0dev < 1.0devx
1.0postx < 1.0post
1.0+a < 1.0+1
1.0+1.2 > 1.0+1
3.10 > 3.9
1!1.0 > 999
0!1.0 = 1.0
v1.0 < 1.0
1.a = 1.0a
1.dev.1 < 1.dev1
1.2+post > 1.2
X

for v in '' '!1' '1!' 'a!1' '1!2!3' '1+' '+1' '1+2+3' '1..2' '1._2' '.1' '1.' '_1' '1.*' '*' '1,2' '1|2' '1~2' '1 2' 'é'; do
	t "'$v' is no version" must_fail 2 "$SLIPWAY" version compare --scheme conda -- "$v" 1
done

# match|no SPEC NAME VERSION BUILD, fields separated by ';'
while IFS=';' read -r want spec name version build; do
	case $want in
	match) t "'$spec' matches $name $version $build" prints match "$SLIPWAY" spec match --scheme conda -- "$spec" "$name" "$version" "$build" ;;
	no) t "'$spec' does not match $name $version $build" must_fail 1 "$SLIPWAY" spec match --scheme conda -- "$spec" "$name" "$version" "$build" ;;
	bad) t "'$spec' is no spec" must_fail 2 "$SLIPWAY" spec match --scheme conda -- "$spec" "$name" "$version" "$build" ;;
	esac
done <<'X'
match;pkg;pkg;1.8;py39_0
match;PKG;pkg;1.8;py39_0
match;*;pkg;1.8;py39_0
match;p*g;pkg;1.8;py39_0
match;^p.g$;pkg;1.8;py39_0
no;^p.$;pkg;1.8;py39_0
no;pk;pkg;1.8;py39_0
match;pkg 1.8;pkg;1.8;py39_0
match;pkg 1.8;pkg;1.8.0;py39_0
no;pkg 1.8;pkg;1.8.1;py39_0
match; pkg   1.8 ;pkg;1.8;py39_0
match;pkg==1.8;pkg;1.8.0;py39_0
no;pkg==1.8;pkg;1.8.1;py39_0
match;pkg ==1.8;pkg;1.8;py39_0
match;pkg == 1.8;pkg;1.8;py39_0
match;pkg=1.8;pkg;1.8;py39_0
match;pkg=1.8;pkg;1.8.1;py39_0
match;pkg=1.8;pkg;1.8.0rc1;py39_0
no;pkg=1.8;pkg;1.80;py39_0
no;pkg=1.8;pkg;1.9;py39_0
no;pkg=1.8;pkg;1!1.8;py39_0
match;pkg =1.8;pkg;1.8.1;py39_0
match;pkg 1.8.*;pkg;1.8.1;py39_0
match;pkg 1.8*;pkg;1.8.1;py39_0
no;pkg 1.8*;pkg;1.80;py39_0
match;pkg=1.8.*;pkg;1.8.1;py39_0
match;pkg 1.8.0.*;pkg;1.8;py39_0
match;pkg 1.8.* *;pkg;1.8.1;py39_0
match;pkg=1.8.*=*;pkg;1.8.1;py39_0
match;pkg =1.8.* *;pkg;1.8.1;py39_0
match;pkg ==1.8.* *;pkg;1.8.1;py39_0
match;pkg[version=1.8.*];pkg;1.8.1;py39_0
match;pkg[version="1.8.*"];pkg;1.8.1;py39_0
match;pkg[version='1.8.*'];pkg;1.8.1;py39_0
no;pkg 1.8 *;pkg;1.8.1;py39_0
no;pkg=1.8=*;pkg;1.8.1;py39_0
no;pkg==1.8=*;pkg;1.8.1;py39_0
no;pkg ==1.8 *;pkg;1.8.1;py39_0
no;pkg[version=1.8];pkg;1.8.1;py39_0
no;pkg[version="1.8"];pkg;1.8.1;py39_0
match;pkg =1.8 py39_0;pkg;1.8.1;py39_0
no;pkg 1.8 py39_0;pkg;1.8.1;py39_0
match;pkg 1.8 py39_0;pkg;1.8;py39_0
match;pkg 1.8 PY39_0;pkg;1.8;py39_0
match;pkg=1.8=py39_0;pkg;1.8.0;py39_0
no;pkg=1.8=py39_0;pkg;1.8;py39_1
match;pkg==1.8=py39_0;pkg;1.8;py39_0
match;pkg=1.8=py39_*;pkg;1.8;py39_7
match;pkg 1.8.* *_0;pkg;1.8.3;py39_0
no;pkg 1.8.* *_0;pkg;1.8.3;py39_1
match;pkg * py39_0;pkg;7;py39_0
match;pkg=*=py39_0;pkg;7;py39_0
match;pkg >=1.8;pkg;1.8;py39_0
match;pkg>=1.8;pkg;1.9;py39_0
match;pkg >= 1.8;pkg;1.9;py39_0
no;pkg>1.8;pkg;1.8.0;py39_0
match;pkg<1.8;pkg;1.8rc1;py39_0
no;pkg<1.8a0;pkg;1.8rc1;py39_0
match;pkg<=1.8;pkg;1.8.0;py39_0
match;pkg!=1.8;pkg;1.8.1;py39_0
no;pkg!=1.8;pkg;1.8.0;py39_0
no;pkg!=1.8.*;pkg;1.8.1;py39_0
match;pkg!=1.8.*;pkg;1.9;py39_0
match;pkg~=1.8.1;pkg;1.8.3;py39_0
no;pkg~=1.8.1;pkg;1.8.0;py39_0
no;pkg~=1.8.1;pkg;1.9;py39_0
match;pkg~=1.8;pkg;1.9;py39_0
match;pkg>=1.8,<2;pkg;1.9;py39_0
no;pkg>=1.8,<2;pkg;2.0;py39_0
match;pkg >=1.8, <2;pkg;1.9;py39_0
match;pkg 1.7|1.9;pkg;1.9;py39_0
no;pkg 1.7|1.9;pkg;1.8;py39_0
match;pkg 1.7.*|1.9.*;pkg;1.9.1;py39_0
match;pkg >=1,<1.5|>=2;pkg;2.1;py39_0
no;pkg >=1,<1.5|>=2;pkg;1.8;py39_0
match;pkg >=2|<1.5,>=1;pkg;1.2;py39_0
match;pkg[version=">=1,(<1.5|>=2)"];pkg;2.1;py39_0
no;pkg[version="(>=1,<1.5)|>=2"];pkg;1.8;py39_0
match;pkg >=1.8,<2 py39_0;pkg;1.8;py39_0
match;pkg[version=">=1.8,<2",build="py39*"];pkg;1.8;py39_0
match;pkg[version=">=1.8,<2", build=py39_0];pkg;1.8;py39_0
match;pkg[version=">=1.8,<2" build=py39_0];pkg;1.8;py39_0
no;pkg[build="*_1"];pkg;1.8;py39_0
match;pkg[build="^py3[89]_0$"];pkg;1.8;py39_0
match;pkg 1.7 py38_0[version=1.8,build=py39_0];pkg;1.8;py39_0
match;pkg[name=other];pkg;1.8;py39_0
no;pkg[name=other];other;1.8;py39_0
match;pkg[version="^1\.[78]$"];pkg;1.8;py39_0
no;pkg[version="^1\.[78]$"];pkg;1.8.0;py39_0
match;pkg 1.*.1;pkg;1.8.1;py39_0
no;pkg 1.*.1;pkg;1.8.2;py39_0
match;pkg[version="*rc1"];pkg;1.8rc1;py39_0
match;pkg 1!1.8;pkg;1!1.8;py39_0
no;pkg 1!1.8;pkg;1.8;py39_0
match;pkg 1.8+local;pkg;1.8+local;py39_0
match;pkg=1.8;pkg;1.8+local;py39_0
match;conda-forge::pkg=1.8;pkg;1.8;py39_0
match;:ns:pkg;pkg;1.8;py39_0
bad;;pkg;1.8;py39_0
bad;pkg >=;pkg;1.8;py39_0
bad;pkg >=1.8,;pkg;1.8;py39_0
bad;pkg >=1.8,,<2;pkg;1.8;py39_0
bad;pkg (1.8;pkg;1.8;py39_0
bad;pkg 1.8);pkg;1.8;py39_0
bad;pkg[version=1.8;pkg;1.8;py39_0
bad;pkg[version="1.8];pkg;1.8;py39_0
bad;pkg[version=];pkg;1.8;py39_0
bad;pkg 1.8 py39_0 extra;pkg;1.8;py39_0
bad;pkg <>1.8;pkg;1.8;py39_0
bad;pkg &1.8;pkg;1.8;py39_0
bad;=1.8;pkg;1.8;py39_0
X

# what is dumped of a channel replays as it was
mkdir -p v3/noarch
cat >v3/noarch/repodata.json <<'END'
{"v3":{"conda":{"x-2-0":{"name":"x","version":"2","build":"0","subdir":"noarch","depends":["o 1.10"]},
"x-1-0":{"name":"x","version":"1","build":"0","subdir":"noarch"},
"o-1.10-0":{"name":"o","version":"1.10","build":"0","subdir":"noarch"}}}}
END
t 'a record of v3 is read by its own grammar' sh -c '"$SLIPWAY" solve --json -c v3 --dump v3.test x >out 2>err'
t 'so that this one does not fit' has '"version": "1"' out
t 'its mark is dumped' has '"v3": true' v3.test
t 'and read again' sh -c '"$SLIPWAY" solve --json --replay v3.test >out 2>err && grep -q "x-1-0.conda" out'

done_testing
