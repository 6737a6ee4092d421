# SPDX-License-Identifier: Apache-2.0
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"

compare()
{
	prints "$2" "$SLIPWAY" version compare --scheme conda "$1" "$3"
}

t 'older' compare 1.0rc1 '<' 1.0
t 'newer' compare 1.0post1 '>' 1.0
t 'the same' compare 1.1.0 '=' 1.1
t 'an epoch counts first' compare 1!0.1 '>' 2.0
t 'a local version counts last' compare 0.4.1+local '<' 0.4.1
t 'letters' compare 1.1.1k '<' 1.1.1l
t 'conda is the default scheme' prints '<' "$SLIPWAY" version compare 1 2
t 'as JSON' prints '{"a":"1.0","b":"1","order":"="}' "$SLIPWAY" version compare --json 1.0 1

t 'a word that is no version is a usage error' must_fail 2 "$SLIPWAY" version compare --scheme conda 1..0 1.0
t 'it is quoted with the place' has "version '1..0': empty segment at character 3" err
t 'nothing is printed then' test ! -s out
t 'the second one too' must_fail 2 "$SLIPWAY" version compare --scheme conda 1.0 '1 0'
t 'a number above the bound' must_fail 2 "$SLIPWAY" version compare 1.2147483648 1
t 'an empty version' must_fail 2 "$SLIPWAY" version compare '' 1
t 'one version is too few' must_fail 2 "$SLIPWAY" version compare 1
t 'three are too many' must_fail 2 "$SLIPWAY" version compare 1 2 3
t 'an unknown scheme' must_fail 2 "$SLIPWAY" version compare --scheme cobol 1 2
t 'it is named' has "unknown scheme 'cobol'" err

done_testing
