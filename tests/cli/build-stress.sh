# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Many builds at once on one store: what OBuilder's own stress test does, and with failing steps, gc, and kills of anything beside it.
# STRESS_SECONDS: how long each part may take (default 10), STRESS_SEED: another order.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/rootfs.sh"
. "$SOURCE_ROOT/tests/lib/builds.sh"
need python3
need_builds
t 'has a base image' builds_base

stress()
{
	python3 "$SOURCE_ROOT/tests/lib/build_stress.py" --seconds "${STRESS_SECONDS:-10}" --seed "${STRESS_SEED:-1}" "$@"
}

# What must hold when nothing runs: no mount, no process, nothing half made; and the next build goes well.
quiet()
{
	for _ in 1 2 3 4 5 6 7 8 9 10; do # what was killed last may still be ending
		builds_clean "$SLIPWAY_ROOT" >left && break
		sleep 0.3
	done
	cat left
	builds_clean "$SLIPWAY_ROOT" && stress --jobs 3 --steps 2 --at-once 1 || return 1
	ls "$SLIPWAY_ROOT/build/tmp" >left
	[ ! -s left ] || { echo 'left in tmp:'; cat left; return 1; }
}

t 'a hundred jobs of four steps, ten at once' stress
t 'leave nothing but layers' quiet
t 'with steps that fail' stress --jobs 60 --values 4 --failing 0.4
t 'leave nothing but layers' quiet
t 'while layers are removed' stress --jobs 60 --disturb 'build gc --older-than 0s' --disturb 'build gc --max-size 1'
t 'leave nothing but layers' quiet
t 'while anything is killed' stress --jobs 100 --values 5 --failing 0.1 --kill 0.6
t 'leave nothing but layers' quiet

t 'all of it can be removed' builds_remove

done_testing
