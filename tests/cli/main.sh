# SPDX-License-Identifier: Apache-2.0
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"

t 'prints its version' runs "$SLIPWAY" --version
t 'the version is a number' has '^slipway [0-9.]*$' out
t 'prints its usage' runs "$SLIPWAY" --help
t 'usage goes to stdout' has '^usage:' out
t 'no command is a usage error' must_fail 2 "$SLIPWAY"
t 'an unknown command is a usage error' must_fail 2 "$SLIPWAY" frobnicate
t 'an unknown command is named' has "unknown command 'frobnicate'" err
t 'options of every command may stand before it' runs "$SLIPWAY" --root "$T/elsewhere" --json env list
t 'they count' has '^{' out
t 'before a command without a verb too' must_fail 2 "$SLIPWAY" --root="$T/elsewhere" solve
t 'an unknown command after options is named' must_fail 2 "$SLIPWAY" --root "$T/elsewhere" frobnicate
t 'and not the option' has "unknown command 'frobnicate'" err
t 'an unknown verb after options is named' must_fail 2 "$SLIPWAY" -q env frobnicate
t 'with its noun' has "'env' has no verb 'frobnicate'" err
t 'options of every command may stand between noun and verb' runs "$SLIPWAY" env --json --root="$T/elsewhere" -q list
t 'they count there' has '^{' out
t 'with their values' runs "$SLIPWAY" env --root "$T/elsewhere" list
t 'before and between' runs "$SLIPWAY" --root "$T/elsewhere" env --json list -v
t 'no colour' runs "$SLIPWAY" --no-color env list
t 'help between' runs "$SLIPWAY" env --help list
t 'is that of the command' has '^slipway-env - ' out
t 'an option of the verb there is a usage error' must_fail 2 "$SLIPWAY" env -n x packages
t 'that says where it stands' has "'-n' stands before the verb; write: slipway env VERB -n" err
t 'help after options' runs "$SLIPWAY" -q --help
t 'the version after options' runs "$SLIPWAY" --json --version
t 'help of a command in any order' runs "$SLIPWAY" --help env list
t 'an unknown option without a command is named' must_fail 2 "$SLIPWAY" --frob
t 'as an option' has "unknown option '--frob'; 'slipway --help'" err
t 'what stands behind -- is no option' must_fail 1 "$SLIPWAY" env run -n x -- --help

# Libraries are opened when they are called: one that cannot be loaded is in nobody else's way (base/dl.h).
mkdir broken
for name in libarchive.so.13 libbz2.so.1.0 libcrypto.so.3 libcurl.so.4 libsqlite3.so.0 libyaml-0.so.2 libz.so.1 libzstd.so.1; do
	: >broken/$name
done
echo 'dependencies: [python]' >environment.yml
t 'a command that calls no library needs none' runs env LD_LIBRARY_PATH="$T/broken" "$SLIPWAY" \
	version compare --scheme conda 1.0 1.1
t 'one that does fails' must_fail 1 env LD_LIBRARY_PATH="$T/broken" "$SLIPWAY" env create -n x -f environment.yml -c /nowhere
t 'names the library and says what to do' has "load library 'libyaml-0.so.2': .*; install the package that provides it" err

done_testing
