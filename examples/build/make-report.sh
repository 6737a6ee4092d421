#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the example builds: counts the words of a file.
set -eu
echo "$(wc -w <words.txt | tr -d ' ') words"
sort -u words.txt
