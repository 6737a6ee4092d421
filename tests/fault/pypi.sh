# SPDX-License-Identifier: Apache-2.0
# An index of Python packages: whatever call fails, and wherever the process stops, readers have a whole index.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/kinds.sh"
need python3
python3 "$SOURCE_ROOT/tests/lib/wheel.py" in 'x==1' 'x==2' || skip_all 'no packages to publish'
kind=pypi one=$T/in/x-1-py3-none-any.whl two=$T/in/x-2-py3-none-any.whl path=packages/x/x-2-py3-none-any.whl
sweep_kind
done_testing
